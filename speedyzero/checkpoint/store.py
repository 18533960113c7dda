"""Writing and pruning a run's checkpoints. Reading them: `stored.py`.

    RUN_DIR/checkpoints/step_XXXXXXXXX/   weights.safetensors meta.json   as in `weights_file.py`
                                          state.json                      of the run as a whole
                                          PART.json PART.safetensors      of each role: learner, replay_0, ...
                                          manifest.json                   size and sha256 of each; written last
    RUN_DIR/checkpoints/lock              held by the process that writes

A finished checkpoint is never overwritten: a save at a step whose weights are already saved adds its other files.
Replay rows are in each shard's log (`replay_log.py`); a checkpoint refers to a position in it.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import safetensors
import safetensors.torch

from speedyzero.checkpoint.found import LOCK_FILE
from speedyzero.checkpoint.manifest import (
    CHECKPOINTS_FOLDER,
    MANIFEST_FILE,
    checkpoint_dir,
    dirs_by_step_descending,
    entry_of,
    is_finished,
    read_manifest,
    read_verified,
    step_of,
    write_manifest,
)
from speedyzero.checkpoint.snapshot import Snapshot
from speedyzero.checkpoint.stored import resumable
from speedyzero.checkpoint.weights_file import META_FILE, WEIGHTS_FILES
from speedyzero.system.atomic_file import sync_directory, write_atomically
from speedyzero.system.writer_lock import WriterLock

_log = logging.getLogger("speedyzero.checkpoint")


class SaveError(OSError):
    """A checkpoint could not be written. Earlier ones are unchanged and training can continue."""


def write_part(run_dir: str | Path, step: int, file: str, content: bytes) -> None:
    """Write one file of a checkpoint that another process will finish with `CheckpointStore.write(parts=...)`.

    content: from `snapshot.encode_tensors` or `encode_document`. Raises SaveError if the write fails.
    """
    directory = checkpoint_dir(run_dir, step)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if is_finished(directory) and read_manifest(directory).get(file, entry_of(content)) != entry_of(content):
            raise ValueError(f"{directory / file} is part of a finished checkpoint: it is never written over")
        write_atomically(directory / file, content)
    except OSError as error:
        raise SaveError(error.errno, f"{directory / file} was not saved: {error.strerror}") from error


def write_snapshot(run_dir: str | Path, snapshot: Snapshot) -> None:
    """Write the files of a checkpoint that another process will finish (`CheckpointStore.finish`).

    Raises OSError if a write fails, ValueError if the step has a finished checkpoint with other content.
    """
    _write_files(checkpoint_dir(run_dir, snapshot.step), snapshot)


class CheckpointStore:
    """The writer of a run's checkpoints, a context manager. Raises ValueError while another process is the writer."""

    def __init__(self, run_dir: str | Path):
        self.run_dir = Path(run_dir)
        folder = self.run_dir / CHECKPOINTS_FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = WriterLock(folder / LOCK_FILE, cargo=f"the run {run_dir}")

    def write(self, snapshot: Snapshot, *, parts: Collection[str] = ()) -> Path:
        """Write a snapshot to disk; the checkpoint's directory.

        parts: files that other processes have written for this step. Raises SaveError if a write fails or a file is
        missing; the unfinished checkpoint is then removed. Raises ValueError if the step has a finished checkpoint with
        other content.
        """
        directory = checkpoint_dir(self.run_dir, snapshot.step)
        with self._cleared_on_failure(directory):
            self._write(directory, snapshot, parts)
        return directory

    @contextmanager
    def _cleared_on_failure(self, directory: Path) -> Iterator[None]:
        """Remove a failed save; the SaveError names the newest remaining checkpoint."""
        try:
            yield
        except OSError as error:
            self._clear(directory)
            last = resumable(self.run_dir)
            state = f"the newest is that of step {step_of(last[0])}" if last else "there is none yet"
            reason = f"{error.strerror or error}: {error.filename or directory}"
            raise SaveError(
                error.errno, f"checkpoint of train step {step_of(directory)} was not saved ({reason}); {state}"
            ) from error

    def finish(self, step: int, *, files: Collection[str]) -> Path:
        """Finish a checkpoint from files that other processes have written for a step; its directory.

        Raises SaveError as `write`.
        """
        directory = checkpoint_dir(self.run_dir, step)
        with self._cleared_on_failure(directory):
            entries = _finished_entries(directory)
            for name in files:
                if name not in entries:
                    entries[name] = entry_of((directory / name).read_bytes())
            write_manifest(directory, entries)
        return directory

    def give_up(self, step: int) -> None:
        """Remove the files of a checkpoint that will not be finished."""
        self._clear(checkpoint_dir(self.run_dir, step))

    def prune(self, *, keep_last: int, keep_weights_of: Collection[int] = ()) -> list[Path]:
        """Keep the last checkpoints whole and, of older ones, only the weights of some steps (the best).

        Weights-only checkpoints are kept; files of crashed saves are removed. Returns the checkpoints that remain
        resumable: the replay logs may discard what none of them needs. Raises ValueError for keep_last below 1, OSError
        if a file operation fails.
        """
        if keep_last < 1:
            raise ValueError(f"keep_last={keep_last}: must be 1 or more")
        whole = resumable(self.run_dir)
        for directory in whole[keep_last:]:
            if step_of(directory) in keep_weights_of:
                entries = read_manifest(directory)
                write_manifest(directory, {name: entries[name] for name in WEIGHTS_FILES})
            else:
                (directory / MANIFEST_FILE).unlink()  # first: without it the directory is not a checkpoint
                sync_directory(directory)
        for directory in dirs_by_step_descending(self.run_dir):
            if whole and step_of(directory) < step_of(whole[0]):  # a later one may be being written
                self._clear(directory)
        return whole[:keep_last]

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

    def _write(self, directory: Path, snapshot: Snapshot, parts: Collection[str]) -> None:
        entries = _write_files(directory, snapshot)
        for name in parts:
            entries[name] = entry_of((directory / name).read_bytes())
        write_manifest(directory, entries)

    def _clear(self, directory: Path) -> None:
        """Remove files not in the manifest, and a directory without a manifest."""
        try:
            entries = read_manifest(directory) if is_finished(directory) else None
        except ValueError:
            return  # damaged: kept for inspection
        try:
            for path in directory.iterdir():
                if entries is None or path.name not in (*entries, MANIFEST_FILE):
                    path.unlink()
            if entries is None:
                directory.rmdir()
        except OSError as error:
            _log.warning("%s cannot be cleaned up: %s", directory, error)


def _write_files(directory: Path, snapshot: Snapshot) -> dict[str, dict]:
    """Write a snapshot's files, except those already in a finished checkpoint; the manifest entries of all."""
    contents = dict(snapshot.documents)
    contents |= {name: safetensors.torch.save(tensors) for name, tensors in snapshot.tensors.items()}
    entries = _finished_entries(directory)
    for name, content in contents.items():
        if name != META_FILE and entries.get(name, entry_of(content)) != entry_of(content):
            raise ValueError(f"{directory} already holds another {name}: a finished checkpoint is never written over")
    new = {name: content for name, content in contents.items() if name not in entries}
    directory.mkdir(parents=True, exist_ok=True)
    sync_directory(directory.parent)
    for name, content in new.items():
        write_atomically(directory / name, content)
        entries[name] = entry_of(content)
    return entries


def _finished_entries(directory: Path) -> dict[str, dict]:
    """The manifest entries of a checkpoint that is finished and whole; empty otherwise."""
    if not is_finished(directory):
        return {}
    try:
        entries = read_manifest(directory)
        read_verified(directory, required=WEIGHTS_FILES)
    except ValueError as error:
        _log.warning("written over: %s", error)
        (directory / MANIFEST_FILE).unlink(missing_ok=True)
        return {}
    return entries
