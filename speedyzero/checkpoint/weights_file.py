"""One set of weights on disk: `RUN_DIR/checkpoints/step_XXXXXXXXX/`.

    weights.safetensors   the model's state
    meta.json             step, preset, game, num_actions, score
    manifest.json         size and sha256 of every other file; written last, so a directory without it is unfinished

A finished checkpoint is never overwritten. Nothing in it can execute code. A resumable checkpoint (`store.py`) has more
files in the same manifest, which are not read here.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor

from speedyzero.checkpoint.manifest import (
    FORMAT_VERSION,
    MANIFEST_FILE,
    checkpoint_dir,
    dirs_by_step_descending,
    entry_of,
    is_finished,
    read_verified,
    verify,
    write_manifest,
)
from speedyzero.system.atomic_file import sync_directory, write_atomically

__all__ = ["META_KEYS", "SavedWeights", "checkpoint_dir", "load_weights", "newest", "save_weights"]

WEIGHTS_FILE, META_FILE = "weights.safetensors", "meta.json"
WEIGHTS_FILES = (WEIGHTS_FILE, META_FILE)
META_KEYS = ("step", "preset", "game", "num_actions", "score")

_log = logging.getLogger("speedyzero.checkpoint")


@dataclass(frozen=True)
class SavedWeights:
    """A checkpoint's verified weights."""

    directory: Path
    state: dict[str, Tensor]  # on the CPU
    meta: dict


def save_weights(directory: str | Path, model_state: Mapping[str, Tensor], meta: Mapping) -> None:
    """Write a weights-only checkpoint. meta: `META_KEYS` (score may be None) and any other JSON values.

    Saving the same weights again changes nothing. Raises ValueError if meta lacks a key or is not JSON, or if
    `directory` already holds a finished checkpoint with other weights.
    """
    directory = Path(directory)
    files = encode_weights(directory, model_state, meta)
    if is_finished(directory):
        try:
            finished = read_verified(directory, required=WEIGHTS_FILES, only=True)
        except ValueError as error:
            _log.warning("written over: %s", error)
        else:
            if finished[WEIGHTS_FILE] != files[WEIGHTS_FILE]:
                raise ValueError(
                    f"{directory} already holds other weights: a finished checkpoint is never written over"
                )
            return
    directory.mkdir(parents=True, exist_ok=True)
    (directory / MANIFEST_FILE).unlink(missing_ok=True)  # damaged and about to be replaced
    sync_directory(directory.parent)
    for name, content in files.items():
        write_atomically(directory / name, content)
    write_manifest(directory, {name: entry_of(content) for name, content in files.items()})


def encode_weights(directory: Path, model_state: Mapping[str, Tensor], meta: Mapping) -> dict[str, bytes]:
    """The two files of a model's weights, by name. directory: for error messages. Raises as `save_weights`."""
    missing = [key for key in META_KEYS if key not in meta]
    if missing:
        raise ValueError(f"meta of checkpoint {directory} lacks {', '.join(missing)}")
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in model_state.items()}
    named = json.dumps({"format_version": FORMAT_VERSION, **meta}, indent=1, allow_nan=False) + "\n"
    return {WEIGHTS_FILE: safetensors.torch.save(tensors), META_FILE: named.encode()}


def load_weights(directory: str | Path) -> SavedWeights:
    """Read and verify a checkpoint's weights. Raises ValueError, in one line, if they are damaged or missing."""
    directory = Path(directory)
    files = read_verified(directory, required=WEIGHTS_FILES, only=True)
    try:
        meta = json.loads(files[META_FILE])
        state = safetensors.torch.load(files[WEIGHTS_FILE])
    except (KeyError, ValueError, safetensors.SafetensorError) as error:
        raise ValueError(f"checkpoint {directory} is damaged: {error!r}") from error
    return SavedWeights(directory=directory, state=state, meta=meta)


def newest(run_dir: str | Path) -> Path | None:
    """The undamaged checkpoint of the highest step, or None. Damaged ones are passed over with a warning."""
    for directory in dirs_by_step_descending(run_dir):
        try:
            verify(directory, required=WEIGHTS_FILES)
            return directory
        except ValueError as error:
            _log.warning("passed over: %s", error)
    return None
