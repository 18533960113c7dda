"""Reading and verifying checkpoints. Their content: `store.py`."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from speedyzero.checkpoint.manifest import (
    dirs_by_step_descending,
    is_finished,
    read_manifest,
    read_verified,
    step_of,
)
from speedyzero.checkpoint.snapshot import STATE_FILE, part_files
from speedyzero.checkpoint.weights_file import WEIGHTS_FILES
from speedyzero.topology.role_state import RoleState

_log = logging.getLogger("speedyzero.checkpoint")


@dataclass(frozen=True)
class Checkpoint:
    """A fully verified checkpoint, in memory."""

    directory: Path
    files: dict[str, bytes]

    @property
    def step(self) -> int:
        return self.document("meta")["step"]

    @property
    def run_dir(self) -> Path:
        return self.directory.parent.parent

    def document(self, name: str) -> Any:
        """The content of NAME.json. Raises ValueError if it is missing or invalid."""
        try:
            return json.loads(self._content(f"{name}.json"))
        except ValueError as error:
            raise ValueError(f"checkpoint {self.directory}: {name}.json: {error}") from error

    def tensors(self, name: str) -> dict[str, Tensor]:
        """The tensors of NAME.safetensors, on the CPU. Raises ValueError if it is missing or invalid."""
        try:
            return safetensors.torch.load(self._content(f"{name}.safetensors"))
        except (ValueError, KeyError, safetensors.SafetensorError) as error:
            raise ValueError(f"checkpoint {self.directory}: {name}.safetensors: {error}") from error

    def part(self, name: str) -> RoleState:
        """The state of one role. Raises ValueError if it is missing."""
        return RoleState(self.document(name), self.tensors(name))

    def has_part(self, name: str) -> bool:
        return set(part_files(name)) <= set(self.files)

    def _content(self, file: str) -> bytes:
        if file not in self.files:
            raise ValueError(f"not one of its files, {', '.join(sorted(self.files))}")
        return self.files[file]


def open_checkpoint(directory: str | Path) -> Checkpoint:
    """Read and verify a resumable checkpoint. Raises ValueError, in one line, if it is not one."""
    directory = Path(directory)
    return Checkpoint(directory, read_verified(directory, required=(*WEIGHTS_FILES, STATE_FILE)))


def newest_valid(run_dir: str | Path, *, check: Callable[[Checkpoint], None] | None = None) -> Checkpoint:
    """The resumable checkpoint of the highest step; damaged ones are passed over with a warning.

    check: raises ValueError if a checkpoint is unusable for an external reason, such as a damaged replay log. Raises
    ValueError if no checkpoint is left, so that a resume never starts a new run.
    """
    problems = []
    for directory in dirs_by_step_descending(run_dir):
        try:
            if is_finished(directory) and STATE_FILE not in read_manifest(directory):
                continue  # only weights, saved for an evaluation
            checkpoint = open_checkpoint(directory)
            if check is not None:
                check(checkpoint)
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
            if STATE_FILE in read_manifest(directory):
                found.append(directory)
        except ValueError:  # unfinished or damaged: reported by `newest_valid`
            continue
    return found


def read_document(directory: str | Path, name: str) -> Any:
    """Only NAME.json of a checkpoint, verified. Raises ValueError if it is damaged or missing."""
    directory, file = Path(directory), f"{name}.json"
    return Checkpoint(directory, read_verified(directory, required=(file,), only=True)).document(name)
