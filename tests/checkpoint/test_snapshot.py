"""A snapshot is a copy, names its files plainly, and holds nothing that could not be written down."""

import json

import numpy as np
import pytest
import safetensors.torch
import torch

from speedyzero.checkpoint.snapshot import STATE_FILE, encode_document, encode_tensors, take_snapshot
from speedyzero.topology.role_state import RoleState

META = {"step": 12, "preset": "catch", "game": "Catch", "num_actions": 3, "score": None}


def test_training_that_goes_on_does_not_change_it():
    weight, priorities, state = torch.arange(6.0).reshape(2, 3), np.arange(4.0), {"draws": [1, 2]}
    snapshot = take_snapshot(
        meta=META,
        weights={"w": weight.T},
        state=state,
        parts={"replay_0": RoleState({"seed": 1}, {"priority": priorities})},
    )
    before = encode_tensors(snapshot.tensors["weights.safetensors"])
    weight.zero_()
    priorities[:] = -1
    state["draws"].append(3)
    assert encode_tensors(snapshot.tensors["weights.safetensors"]) == before
    assert snapshot.tensors["weights.safetensors"]["w"].is_contiguous()
    assert snapshot.tensors["weights.safetensors"]["w"].tolist() == [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]
    assert snapshot.tensors["replay_0.safetensors"]["priority"].tolist() == [0.0, 1.0, 2.0, 3.0]
    assert json.loads(snapshot.documents[STATE_FILE]) == {"draws": [1, 2]}
    assert snapshot.step == 12
    assert sorted([*snapshot.tensors, *snapshot.documents]) == [
        *("meta.json", "replay_0.json", "replay_0.safetensors", "state.json", "weights.safetensors")
    ]
    assert snapshot.nbytes == 6 * 4 + 4 * 8 + sum(map(len, snapshot.documents.values()))


@pytest.mark.parametrize("dtype", ["f4", "f8", "i2", "i8", "u1", "?"])
def test_arrays_keep_their_type_and_bits(dtype):
    """NaN included."""
    array = np.random.default_rng(0).integers(0, 2 if dtype == "?" else 256, (3, 40), np.uint8).view(dtype)
    read = safetensors.torch.load(encode_tensors({"a": array, "none": array[:0]}))
    assert read["a"].numpy().dtype == array.dtype and read["a"].numpy().tobytes() == array.tobytes()
    assert read["none"].shape == (0, array.shape[1])


@pytest.mark.parametrize("key", META)
def test_meta_must_be_complete(key):
    with pytest.raises(ValueError, match=key):
        take_snapshot(meta={name: META[name] for name in META if name != key}, weights={}, state={})


@pytest.mark.parametrize("name", ["../x", "a/b", "A", "", "a.json", "weights", "meta", "state"])
def test_names_of_role_states_are_plain_and_their_own(name):
    with pytest.raises(ValueError, match="is named by|places of their own"):
        take_snapshot(meta=META, weights={}, state={}, parts={name: RoleState({}, {})})


@pytest.mark.parametrize("content", [float("nan"), float("inf"), {"a": {1, 2}}, np.float32(1)])
def test_documents_are_strict_json(content):
    with pytest.raises(ValueError):
        encode_document(content)
