"""Writing and pruning a run's checkpoints. Reading them: `stored.py`; what a manifest is: `manifest.py`.

    RUN_DIR/checkpoints/step_XXXXXXXXX/   weights.safetensors meta.json   as in `weights_file.py`
                                          state.json                      of the run as a whole
                                          PART.json PART.safetensors      of each role: learner, replay_0, ...
                                          manifest.WRITER.json            the files that one process has written
                                          manifest.json                   all of them; written last
    RUN_DIR/replay/                       blocks of rows (`replay_log.py`), listed in the manifest, too
    RUN_DIR/checkpoints/lock              held by the process that finishes checkpoints

A file that a finished checkpoint lists is never written over: a save at a step whose weights are already saved adds
its other files.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Set
from contextlib import contextmanager
from pathlib import Path

from speedyzero.checkpoint.found import LOCK_FILE
from speedyzero.checkpoint.manifest import (
    CHECKPOINTS_FOLDER,
    MANIFEST_FILE,
    META_FILE,
    WEIGHTS_FILES,
    Entry,
    checkpoint_dir,
    dirs_by_step_descending,
    entry_of,
    is_finished,
    read_manifest,
    step_of,
    sweep,
    write_manifest,
)
from speedyzero.checkpoint.snapshot import Snapshot
from speedyzero.checkpoint.stored import Checkpoint, resumable
from speedyzero.system.atomic_file import sync_directory, write_atomically
from speedyzero.system.writer_lock import WriterLock

_WHOLE_RUN = "run"  # the writer of a run in one process

_log = logging.getLogger("speedyzero.checkpoint")


class SaveError(OSError):
    """A checkpoint could not be written. Earlier ones are unchanged and training can continue."""


def add_files(directory: Path, contents: Mapping[str, bytes]) -> dict[str, Entry]:
    """Write files of a checkpoint that may be finished; their manifest entries.

    Files that its manifest lists stay as they are. Raises ValueError, without writing, if one of them has other content
    here; only meta.json may, since it has the settings of the process that saves. A damaged checkpoint is replaced.
    """
    entries = {name: entry_of(content) for name, content in contents.items()}
    listed = _listed(directory, entries.keys())
    for name in entries.keys() & listed.keys():
        if name != META_FILE and entries[name] != listed[name]:
            raise ValueError(f"{directory} already holds another {name}: a finished checkpoint is never written over")
        entries[name] = listed[name]
    directory.mkdir(parents=True, exist_ok=True)
    sync_directory(directory.parent)
    for name, content in contents.items():
        if name not in listed:
            write_atomically(directory / name, content)
    return entries


def write_share(
    run_dir: str | Path, step: int, writer: str, contents: Mapping[str, bytes], *, written: Mapping[str, Entry]
) -> None:
    """Write one process's files of a checkpoint, then the list of them, for `CheckpointStore.finish`.

    written: entries of blocks that it has written before. Raises OSError if a write fails, ValueError as `add_files`.
    """
    directory = checkpoint_dir(run_dir, step)
    write_manifest(directory, {**add_files(directory, contents), **written}, writer=writer)


class CheckpointStore:
    """The one who finishes a run's checkpoints, a context manager. Raises ValueError while another process does."""

    def __init__(self, run_dir: str | Path):
        self.run_dir = Path(run_dir)
        folder = self.run_dir / CHECKPOINTS_FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = WriterLock(folder / LOCK_FILE, cargo=f"the run {run_dir}")

    def write(self, snapshot: Snapshot) -> Path:
        """Write a whole checkpoint; its directory.

        Raises SaveError if a write fails; the unfinished checkpoint is then removed. Raises ValueError if the step has
        a finished checkpoint with other content.
        """
        with self._cleared_on_failure(checkpoint_dir(self.run_dir, snapshot.step)):
            write_share(self.run_dir, snapshot.step, _WHOLE_RUN, snapshot.contents(), written=snapshot.written)
        return self.finish(snapshot.step, writers=(_WHOLE_RUN,))

    def finish(self, step: int, *, writers: Collection[str], others: Mapping[str, Entry] | None = None) -> Path:
        """Finish a checkpoint whose writers have written their files and lists; its directory. others: files that
        other nodes have written, as they report them: a network file system may show them late.

        Raises SaveError if a write fails, ValueError if a list is missing; the unfinished checkpoint is then removed.
        """
        directory = checkpoint_dir(self.run_dir, step)
        with self._cleared_on_failure(directory):
            entries = dict(read_manifest(directory).files) if is_finished(directory) else {}
            for writer in writers:
                entries |= read_manifest(directory, writer=writer).files
            write_manifest(directory, entries | dict(others or {}))
        self._clear(directory)
        return directory

    @contextmanager
    def _cleared_on_failure(self, directory: Path) -> Iterator[None]:
        """Remove a failed save; the SaveError names the newest remaining checkpoint."""
        try:
            yield
        except ValueError:
            self._clear(directory)
            raise
        except OSError as error:
            self._clear(directory)
            last = resumable(self.run_dir)
            state = f"the newest is that of step {step_of(last[0])}" if last else "there is none yet"
            reason = f"{error.strerror or error}: {error.filename or directory}"
            raise SaveError(
                error.errno, f"checkpoint of train step {step_of(directory)} was not saved ({reason}); {state}"
            ) from error

    def give_up(self, step: int) -> None:
        """Remove the files of a checkpoint that will not be finished."""
        self._clear(checkpoint_dir(self.run_dir, step))

    def prune(self, *, keep_last: int, keep_weights_of: Collection[int] = ()) -> None:
        """Keep the last checkpoints whole and, of older ones, only the weights of some steps (the best).

        Weights-only checkpoints are kept; files of crashed saves are removed. Blocks of rows are deleted by their
        writers, once no checkpoint lists them. Raises ValueError for keep_last below 1, OSError if a write fails.
        """
        if keep_last < 1:
            raise ValueError(f"keep_last={keep_last}: must be 1 or more")
        whole = resumable(self.run_dir)
        for directory in whole[keep_last:]:
            if step_of(directory) in keep_weights_of:
                entries = read_manifest(directory).files
                write_manifest(directory, {name: entries[name] for name in WEIGHTS_FILES})
            else:
                (directory / MANIFEST_FILE).unlink()  # first: without it the directory is not a checkpoint
                sync_directory(directory)
        for directory in dirs_by_step_descending(self.run_dir):
            if whole and step_of(directory) < step_of(whole[0]):  # a later one may be being written
                self._clear(directory)

    def set_aside_after(self, step: int) -> list[Path]:
        """Rename the checkpoints of later steps, which a resumed run will reach again; their new paths."""
        aside = []
        for directory in dirs_by_step_descending(self.run_dir):
            if step_of(directory) > step:
                number = 1
                while (target := directory.with_name(f"aside_{number:03}_{directory.name}")).exists():
                    number += 1
                directory.rename(target)
                aside.append(target)
        if aside:
            sync_directory(self.run_dir / CHECKPOINTS_FOLDER)
            _log.warning("resuming at train step %d: %d later checkpoints are set aside", step, len(aside))
        return aside

    def close(self) -> None:
        """Release the lock."""
        self._lock.release()

    def __enter__(self) -> CheckpointStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _clear(self, directory: Path) -> None:
        """Remove files not in the manifest, and a directory without a manifest."""
        try:
            kept = {MANIFEST_FILE, *read_manifest(directory).files} if is_finished(directory) else set()
        except ValueError:
            return  # damaged: kept for inspection
        try:
            sweep(directory.iterdir(), kept=kept)
            if not kept:
                directory.rmdir()
        except OSError as error:
            _log.warning("%s cannot be cleaned up: %s", directory, error)


def _listed(directory: Path, names: Set[str]) -> Mapping[str, Entry]:
    """The manifest entries of a finished checkpoint that is whole; of a damaged one none, and its manifest is deleted.

    It is verified if it lists any of these names.
    """
    if not is_finished(directory):
        return {}
    try:
        checkpoint = Checkpoint(directory)
        if names & checkpoint.files.keys():
            checkpoint.verify()
        return checkpoint.files
    except ValueError as error:
        _log.warning("written over: %s", error)
        (directory / MANIFEST_FILE).unlink(missing_ok=True)
        return {}
