"""Reading checkpoints. Writing them: `store.py`."""

import json
import logging
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from speedyzero.checkpoint.manifest import (
    FORMAT_VERSION,
    STATE_FILE,
    WEIGHTS_FILES,
    dirs_by_step_descending,
    read_manifest,
    read_verified,
    step_of,
)
from speedyzero.checkpoint.snapshot import part_files
from speedyzero.topology.role_state import RoleState

_log = logging.getLogger("speedyzero.checkpoint")


class Checkpoint:
    """A finished checkpoint. Each file is read and hashed once, when it is first used, and kept until `release`.

    Every use of a file raises ValueError, in one line that names it, if it is not listed, missing or damaged.
    """

    def __init__(self, directory: str | Path):
        """Reads only the manifest. Raises ValueError if it is missing or damaged."""
        self.directory = Path(directory)
        manifest = read_manifest(self.directory)
        self.format_version, self.files = manifest.format_version, manifest.files
        self._contents: dict[str, bytes] = {}

    @property
    def run_dir(self) -> Path:
        return self.directory.resolve().parent.parent

    @property
    def step(self) -> int:
        return self.document("meta")["step"]

    def content(self, name: str) -> bytes:
        if name not in self.files:
            raise ValueError(f"checkpoint {self.directory}: {name} is not one of its files, {', '.join(self.files)}")
        if name not in self._contents:
            self._contents[name] = read_verified(self.directory, name, self.files[name])
        return self._contents[name]

    def take(self, name: str) -> bytes:
        """The content of a file that will not be used again."""
        content = self.content(name)
        del self._contents[name]
        return content

    def verify(self) -> None:
        """Read all files, the blocks of rows included."""
        for name in self.files:
            self.content(name)

    def release(self) -> None:
        """Free the memory of what was read."""
        self._contents.clear()

    def document(self, name: str) -> Any:
        """The content of NAME.json."""
        content = self.content(f"{name}.json")
        try:
            return json.loads(content)
        except ValueError as error:
            raise ValueError(f"checkpoint {self.directory}: {name}.json: {error}") from error

    def tensors(self, name: str) -> dict[str, Tensor]:
        """The tensors of NAME.safetensors, on the CPU."""
        content = self.content(f"{name}.safetensors")
        try:
            return safetensors.torch.load(content)
        except (KeyError, ValueError, safetensors.SafetensorError) as error:
            raise ValueError(f"checkpoint {self.directory}: {name}.safetensors: {error}") from error

    def part(self, name: str) -> RoleState:
        """The state of one role."""
        return RoleState(self.document(name), self.tensors(name))

    def has_part(self, name: str) -> bool:
        return set(part_files(name)) <= self.files.keys()


def open_checkpoint(directory: str | Path) -> Checkpoint:
    """A resumable checkpoint. Raises ValueError, in one line, if it is not one."""
    checkpoint = Checkpoint(directory)
    _check_resumable(checkpoint)
    return checkpoint


def newest_valid(run_dir: str | Path) -> Checkpoint:
    """The resumable checkpoint of the highest step, all of it verified; damaged ones are passed over with a warning.

    Raises ValueError if none is left, so that a resume never starts a new run.
    """
    problems = []
    for directory in dirs_by_step_descending(run_dir):
        try:
            checkpoint = Checkpoint(directory)
            if STATE_FILE not in checkpoint.files:
                continue  # only weights, saved for an evaluation
            _check_resumable(checkpoint)
            checkpoint.verify()
        except ValueError as error:
            _log.warning("checkpoint of train step %d passed over: %s", step_of(directory), error)
            problems.append(str(error))
        else:
            if problems:
                _log.warning("%d newer checkpoints were passed over; this is %s", len(problems), directory)
            return checkpoint
    reasons = f"; {len(problems)} were passed over, the newest because: {problems[0]}" if problems else ""
    raise ValueError(f"{run_dir} has no checkpoint to resume from{reasons}")


def resumable(run_dir: str | Path) -> list[Path]:
    """The finished resumable checkpoints, highest step first, not verified."""
    found = []
    for directory in dirs_by_step_descending(run_dir):
        try:
            if STATE_FILE in read_manifest(directory).files:
                found.append(directory)
        except ValueError:  # unfinished or damaged: reported by `newest_valid`
            continue
    return found


def _check_resumable(checkpoint: Checkpoint) -> None:
    directory, version = checkpoint.directory, checkpoint.format_version
    missing = [name for name in (*WEIGHTS_FILES, STATE_FILE) if name not in checkpoint.files]
    if missing:
        raise ValueError(f"checkpoint {directory} cannot be resumed: its manifest does not list {missing[0]}")
    if version != FORMAT_VERSION:
        raise ValueError(
            f"checkpoint {directory} has format version {version}; this program resumes {FORMAT_VERSION}: resume it "
            f"with the version of SpeedyZero that wrote it, or begin a new run with its weights, init_from={directory}"
        )
