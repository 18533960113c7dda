"""A checkpoint's content copied to host memory; training pauses only for this copy.

The learner takes a snapshot between two train steps; `store.py` writes it to disk in another thread or process while
training continues.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from speedyzero.checkpoint.manifest import META_FILE, STATE_FILE, WEIGHTS_FILE, Entry
from speedyzero.topology.role_state import RoleState, Tensors

META_KEYS = ("step", "preset", "game", "num_actions", "score")


@dataclass(frozen=True)
class Snapshot:
    """A private copy, unaffected by further training."""

    step: int
    tensors: dict[str, dict[str, Tensor]]  # by file, then by name; on the CPU, contiguous
    documents: dict[str, bytes]  # JSON by file
    written: dict[str, Entry]  # files that are on disk already

    @property
    def nbytes(self) -> int:
        """Host memory used by the snapshot."""
        tensors = (tensor for file in self.tensors.values() for tensor in file.values())
        return sum(tensor.nbytes for tensor in tensors) + sum(map(len, self.documents.values()))

    def contents(self) -> dict[str, bytes]:
        """The content of its files."""
        return self.documents | {name: safetensors.torch.save(tensors) for name, tensors in self.tensors.items()}


def take_snapshot(
    *,
    meta: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    state: Any,
    parts: Mapping[str, RoleState] | None = None,
) -> Snapshot:
    """Copy all checkpointable state of a run.

    meta: as for `save_weights`; its step names the checkpoint. weights: the model's, for `evaluate`. state: of the run
    as a whole, as JSON, for state.json. parts: role states by name.

    Raises ValueError if meta lacks a key, a name is invalid, or a document is not strict JSON.
    """
    check_meta(meta)
    files: dict[str, Tensors] = {WEIGHTS_FILE: weights}
    texts = {META_FILE: dict(meta), STATE_FILE: state}
    written: dict[str, Entry] = {}
    for name, part in (parts or {}).items():
        tensors_file, document_file = part_files(name)
        if tensors_file in files or document_file in texts:
            raise ValueError(f"{WEIGHTS_FILE}, {META_FILE} and {STATE_FILE} have places of their own in a checkpoint")
        files[tensors_file], texts[document_file] = part.tensors, part.document
        written |= part.written
    return Snapshot(
        step=meta["step"],
        tensors={name: _copies(group) for name, group in files.items()},
        documents={name: encode_document(content) for name, content in texts.items()},
        written=written,
    )


def check_meta(meta: Mapping[str, Any]) -> None:
    """Raises ValueError if meta.json would lack a key."""
    if missing := [key for key in META_KEYS if key not in meta]:
        raise ValueError(f"meta of a checkpoint lacks {', '.join(missing)}")


def part_files(name: str) -> tuple[str, str]:
    """The files of a role state: tensors, document. Raises ValueError for an invalid name."""
    if not re.fullmatch("[a-z0-9_]+", name):
        raise ValueError(f"{name!r}: a role state is named by a-z, 0-9 and _")
    return f"{name}.safetensors", f"{name}.json"


def encode_part(name: str, part: RoleState) -> dict[str, bytes]:
    """The content of a role state's files. Raises ValueError as `take_snapshot`."""
    tensors_file, document_file = part_files(name)
    return {tensors_file: encode_tensors(part.tensors), document_file: encode_document(part.document)}


def encode_document(content: Any) -> bytes:
    """Strict JSON. Raises ValueError for NaN, infinities and types unknown to JSON."""
    try:
        return (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()
    except TypeError as error:
        raise ValueError(f"not JSON: {error}") from error


def encode_tensors(tensors: Tensors) -> bytes:
    """A safetensors file."""
    return safetensors.torch.save(_copies(tensors))


def _copies(tensors: Tensors) -> dict[str, Tensor]:
    return {
        name: torch.as_tensor(tensor).detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
