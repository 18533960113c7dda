"""One set of weights on disk: a checkpoint, or the part of one that `evaluate`, `load` and `init_from` read.

weights.safetensors   the model's state
meta.json             step, preset, game, num_actions, score
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from speedyzero.checkpoint.manifest import (
    META_FILE,
    WEIGHTS_FILE,
    WEIGHTS_FILES,
    checkpoint_dir,
    dirs_by_step_descending,
    is_finished,
    write_manifest,
)
from speedyzero.checkpoint.snapshot import META_KEYS, check_meta, encode_document, encode_tensors
from speedyzero.checkpoint.store import add_files
from speedyzero.checkpoint.stored import Checkpoint

__all__ = ["META_KEYS", "SavedWeights", "checkpoint_dir", "load_weights", "newest", "save_weights"]

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
    check_meta(meta)
    directory = Path(directory)
    entries = add_files(directory, {WEIGHTS_FILE: encode_tensors(model_state), META_FILE: encode_document(dict(meta))})
    if not is_finished(directory):
        write_manifest(directory, entries)


def load_weights(directory: str | Path) -> SavedWeights:
    """Read and verify a checkpoint's weights. Raises ValueError, in one line, if they are damaged or missing."""
    checkpoint = Checkpoint(directory)
    return SavedWeights(checkpoint.directory, checkpoint.tensors("weights"), checkpoint.document("meta"))


def newest(run_dir: str | Path) -> Path | None:
    """The checkpoint of the highest step whose weights are whole, or None. Others are passed over with a warning."""
    for directory in dirs_by_step_descending(run_dir):
        try:
            checkpoint = Checkpoint(directory)
            for name in WEIGHTS_FILES:
                checkpoint.content(name)
            return directory
        except ValueError as error:
            _log.warning("passed over: %s", error)
    return None
