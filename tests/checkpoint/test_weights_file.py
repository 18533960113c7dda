"""Weights on disk: whole or refused, never silently wrong."""

import itertools

import pytest
import torch

from speedyzero.checkpoint.weights_file import checkpoint_dir, load_weights, newest, save_weights

META = {"step": 7, "preset": "catch", "game": "Catch", "num_actions": 3, "score": None}


def model_state():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    return model.state_dict()


def assert_same(state, other):
    assert state.keys() == other.keys()
    for name, tensor in state.items():
        assert tensor.dtype == other[name].dtype and torch.equal(tensor, other[name])


def test_round_trip(tmp_path):
    directory = checkpoint_dir(tmp_path, 7)
    save_weights(directory, model_state(), META)
    assert directory.name == "step_000000007"
    saved = load_weights(directory)
    assert_same(saved.state, model_state())
    assert {key: saved.meta[key] for key in META} == META
    assert sorted(path.name for path in directory.iterdir()) == ["manifest.json", "meta.json", "weights.safetensors"]


def test_views_of_one_memory_and_odd_layouts_are_saved_as_they_look(tmp_path):
    base = torch.arange(24.0).reshape(1, 2, 3, 4)
    state = {"a": base, "b": base.transpose(1, 3), "c": base.to(memory_format=torch.channels_last)}
    save_weights(tmp_path / "w", state, META)
    assert_same(load_weights(tmp_path / "w").state, state)


def test_every_bit_flip_and_every_truncation_of_every_file_is_detected(tmp_path):
    save_weights(tmp_path, {"w": torch.arange(6.0)}, META)
    damages = 0
    for path in tmp_path.iterdir():
        content = path.read_bytes()
        flips = (
            content[:at] + bytes([byte ^ 1 << bit]) + content[at + 1 :]
            for at, byte in enumerate(content)
            for bit in range(8)
        )
        # A manifest without its final line break is still whole.
        cuts = (content[:length] for length in range(len(content) - (path.name == "manifest.json")))
        for damaged in itertools.chain(flips, cuts):
            path.write_bytes(damaged)
            with pytest.raises(ValueError) as error:
                load_weights(tmp_path)
            assert "\n" not in str(error.value)
            damages += 1
        path.unlink()
        with pytest.raises(ValueError, match=path.name):
            load_weights(tmp_path)
        path.write_bytes(content)
    assert damages > 3400
    load_weights(tmp_path)


def test_newest_is_by_step_and_passes_over_damaged_ones_with_a_warning(tmp_path, caplog):
    assert newest(tmp_path) is None
    for step in (5, 999_999_999, 99, 1_000_000_000):
        save_weights(checkpoint_dir(tmp_path, step), model_state(), {**META, "step": step})
    (tmp_path / "checkpoints" / "step_oops").mkdir()
    assert newest(tmp_path) == checkpoint_dir(tmp_path, 1_000_000_000)
    (checkpoint_dir(tmp_path, 1_000_000_000) / "manifest.json").unlink()
    (checkpoint_dir(tmp_path, 999_999_999) / "weights.safetensors").write_bytes(b"")
    assert newest(tmp_path) == checkpoint_dir(tmp_path, 99)
    assert caplog.text.count("passed over") == 2


def test_a_damaged_checkpoint_is_replaced(tmp_path, caplog):
    save_weights(tmp_path, model_state(), META)
    (tmp_path / "weights.safetensors").write_bytes(b"junk")
    save_weights(tmp_path, model_state(), META)
    assert_same(load_weights(tmp_path).state, model_state())
    assert "written over" in caplog.text


def test_meta_must_be_complete_and_strict_json(tmp_path):
    for meta in ({**META, "score": float("nan")}, {name: META[name] for name in META if name != "score"}):
        with pytest.raises(ValueError):
            save_weights(tmp_path / "w", model_state(), meta)
    assert not (tmp_path / "w").exists()
