"""One set of weights on disk: `RUN_DIR/checkpoints/step_XXXXXXXXX/`.

    weights.safetensors   the model's state
    meta.json             step, preset, game, num_actions, score
    manifest.json         size and sha256 of every other file; written last, so a directory without it is no checkpoint

A finished checkpoint is never written over. Nothing in it can execute code. More files (optimiser, replay) need no new
layout: they are listed in the manifest like the others.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor

from speedyzero.checkpoint.atomic_file import sync_directory, write_atomically, write_json

FORMAT_VERSION = 1
WEIGHTS_FILE, META_FILE, MANIFEST_FILE = "weights.safetensors", "meta.json", "manifest.json"
META_KEYS = ("step", "preset", "game", "num_actions", "score")

_log = logging.getLogger("speedyzero.checkpoint")


@dataclass(frozen=True)
class SavedWeights:
    """A checkpoint that was read and found whole."""

    directory: Path
    state: dict[str, Tensor]  # on the CPU
    meta: dict


def checkpoint_dir(run_dir: str | Path, step: int) -> Path:
    """Where the checkpoint of a train step lies."""
    return Path(run_dir) / "checkpoints" / f"step_{step:09}"


def save_weights(directory: str | Path, model_state: Mapping[str, Tensor], meta: Mapping) -> None:
    """Write a checkpoint. meta: `META_KEYS` (score may be None) and whatever else JSON can hold.

    Saving the same weights again changes nothing. Raises ValueError if meta lacks a key or holds no JSON, or if
    `directory` already holds a finished checkpoint of other weights.
    """
    directory = Path(directory)
    missing = [key for key in META_KEYS if key not in meta]
    if missing:
        raise ValueError(f"meta of checkpoint {directory} lacks {', '.join(missing)}")
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in model_state.items()}
    files = {
        WEIGHTS_FILE: safetensors.torch.save(tensors),
        META_FILE: (json.dumps({"format_version": FORMAT_VERSION, **meta}, indent=1, allow_nan=False) + "\n").encode(),
    }
    if (directory / MANIFEST_FILE).exists():
        try:
            finished = _read_verified(directory)
        except ValueError as error:
            _log.warning("written over: %s", error)
        else:
            if finished[WEIGHTS_FILE] != files[WEIGHTS_FILE]:
                raise ValueError(
                    f"{directory} already holds other weights: a finished checkpoint is never written over"
                )
            return
    directory.mkdir(parents=True, exist_ok=True)
    (directory / MANIFEST_FILE).unlink(missing_ok=True)  # of a damaged checkpoint, about to be replaced
    sync_directory(directory.parent)
    for name, content in files.items():
        write_atomically(directory / name, content)
    entries = {name: _entry(content) for name, content in files.items()}
    write_json(directory / MANIFEST_FILE, {"format_version": FORMAT_VERSION, "files": entries})


def load_weights(directory: str | Path) -> SavedWeights:
    """Read a checkpoint and verify every byte of it. Raises ValueError, in one line, for anything that is not right."""
    directory = Path(directory)
    files = _read_verified(directory)
    try:
        meta = json.loads(files[META_FILE])
        state = safetensors.torch.load(files[WEIGHTS_FILE])
    except (KeyError, ValueError, safetensors.SafetensorError) as error:
        raise ValueError(f"checkpoint {directory} is damaged: {error!r}") from error
    return SavedWeights(directory=directory, state=state, meta=meta)


def newest(run_dir: str | Path) -> Path | None:
    """The checkpoint of the highest step that is whole, or None. Damaged ones are passed over with a warning."""
    for directory in _by_step_descending(run_dir):
        try:
            _read_verified(directory)
            return directory
        except ValueError as error:
            _log.warning("passed over: %s", error)
    return None


def _by_step_descending(run_dir: str | Path) -> Iterator[Path]:
    found = Path(run_dir).glob("checkpoints/step_*")
    whole_names = (path for path in found if re.fullmatch(r"step_\d{9,}", path.name))
    yield from sorted(whole_names, key=lambda path: int(path.name.removeprefix("step_")), reverse=True)


def _read_verified(directory: Path) -> dict[str, bytes]:
    """The content of every file that the manifest lists. What is verified is what is returned."""
    contents = {}
    for name, entry in _read_manifest(directory).items():
        try:
            contents[name] = (directory / name).read_bytes()
        except OSError as error:
            raise ValueError(f"checkpoint {directory} is damaged: {name}: {error.strerror}") from error
        found = _entry(contents[name])
        if found != entry:
            raise ValueError(
                f"checkpoint {directory} is damaged: {name} has {found['bytes']} bytes, sha256 {found['sha256'][:12]}; "
                f"its manifest says {entry}"
            )
    return contents


def _read_manifest(directory: Path) -> dict[str, dict]:
    """The files of a checkpoint with what is known of them."""
    path = directory / MANIFEST_FILE
    try:
        manifest = json.loads(path.read_bytes())
    except OSError as error:
        raise ValueError(f"no checkpoint in {directory}: {MANIFEST_FILE}: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"checkpoint {directory} is damaged: {MANIFEST_FILE} is not JSON") from error
    if not isinstance(manifest, dict) or set(manifest) != {"format_version", "files"}:
        raise ValueError(f"checkpoint {directory} is damaged: {MANIFEST_FILE} is no manifest")
    if manifest["format_version"] != FORMAT_VERSION:
        version = manifest["format_version"]
        raise ValueError(f"checkpoint {directory} has format version {version!r}; this program reads {FORMAT_VERSION}")
    files = manifest["files"]
    if not isinstance(files, dict) or not {WEIGHTS_FILE, META_FILE} <= set(files):
        raise ValueError(f"checkpoint {directory} is damaged: {MANIFEST_FILE} does not list its files")
    outside = [name for name in files if Path(name).name != name]
    if outside:
        raise ValueError(f"checkpoint {directory} is damaged: {MANIFEST_FILE} lists {outside[0]!r} outside of it")
    return files


def _entry(content: bytes) -> dict:
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
