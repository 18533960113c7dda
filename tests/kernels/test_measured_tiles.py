"""Tiles of conv3x3_latent as measured on a GPU: what is kept, and what a launch takes."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import pytest
import torch

from benchmarks.gpu import conv_tiles
from benchmarks.gpu.context import Context
from benchmarks.gpu.timing import Times
from kernels.card import Card
from kernels.conv3x3_latent import conv3x3_latent, measured, triton_gpu
from kernels.conv3x3_latent.layout import num_rows
from kernels.conv3x3_latent.measured import measured_tile, table_key, table_path
from kernels.conv3x3_latent.tile import Tile, candidates, tile_for

CARD = replace(Card.of_capability(9, 0), name="a card")
HOW = 64, torch.bfloat16, CARD
FIRST, LARGE, SINGLE = candidates(*HOW)


@pytest.fixture(autouse=True)
def cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    forget()
    yield
    forget()


def forget() -> None:
    """As in another process."""
    measured_tile.cache_clear()
    measured._read_table.cache_clear()


def times_of(*medians_ms: float) -> dict[str, Times]:
    """Of the three tiles, with 2% of spread."""
    of_tiles = zip((FIRST, LARGE, SINGLE), medians_ms, strict=True)
    return {str(tile): Times(ms, ms, ms, 0.02, 10, 1) for tile, ms in of_tiles}


@pytest.mark.parametrize(
    ("medians_ms", "chosen"), [((1.0, 0.9, 0.8), SINGLE), ((1.0, 0.9, 2.0), LARGE), ((1.0, 0.985, 2.0), FIRST)]
)
def test_a_tile_is_chosen_if_it_is_faster_beyond_the_spread(medians_ms, chosen):
    assert conv_tiles.fastest_of([FIRST, LARGE, SINGLE], times_of(*medians_ms)) == chosen


def test_what_is_timed_is_what_later_launches_take(monkeypatch, tmp_path, device):
    """The stage of gpu-check, with a timer by which the large tile is faster."""
    monkeypatch.setattr(Card, "of", lambda device: CARD)
    times = times_of(2.0, 1.0, 3.0)
    monkeypatch.setattr(conv_tiles, "time_turns", lambda subjects, *_, **__: {name: times[name] for name in subjects})
    monkeypatch.setattr(conv_tiles, "table_path", table_path)
    assert measured_tile(*HOW, batch=2) == tile_for(*HOW) == FIRST
    forget()
    folder = table_path().parent
    context = Context(folder, device, is_rehearsal=True, deadline_s=time.monotonic() + 600)
    found = conv_tiles.run(context)
    assert not found["failures"] and found["seen"] == "256x8x2 at 2; kept for later runs"
    assert [measured_tile(*HOW, batch=batch) for batch in (1, 2, 2048)] == [LARGE] * 3
    assert measured_tile(64, torch.bfloat16, replace(CARD, name="another"), batch=2) == FIRST
    assert measured_tile(64, torch.float32, CARD, batch=2) == tile_for(64, torch.float32, CARD)

    launches = []
    monkeypatch.setattr(triton_gpu, "conv3x3_latent_kernel", FakeKernel(launches))
    rows, weight = torch.zeros(num_rows(3, 6), 64, dtype=torch.bfloat16), torch.zeros(9, 64, 64, dtype=torch.bfloat16)
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    conv3x3_latent(rows, weight, torch.zeros(64), batch=3, backend="triton")
    assert [(one["BLOCK_ROWS"], one["num_warps"], one["num_stages"]) for one in launches] == [(256, 8, 2)]


class FakeKernel:
    """Notes the options of every launch."""

    def __init__(self, launches: list[dict]):
        self._launches = launches

    def __getitem__(self, grid):
        return lambda *_, **options: self._launches.append(options)


def write(content: str) -> None:
    table_path().parent.mkdir(exist_ok=True)
    table_path().write_text(content)
    forget()


def test_a_launch_takes_the_entry_of_the_largest_batch_up_to_its_own():
    write(json.dumps({table_key(*HOW): {"16": [128, 4, 1], "1024": [256, 8, 2]}}))
    assert [measured_tile(*HOW, batch=batch) for batch in (1, 16, 1023, 1024, 4096)] == [SINGLE] * 3 + [LARGE] * 2


def test_a_file_that_cannot_be_used_is_named_and_changes_nothing(caplog):
    for number, content in enumerate(["{", "[]", '{"a": 1}', '{"a": {"b": [1, 2, 3]}}', '{"a": {"1": [1]}}'], 1):
        write(content)
        assert measured_tile(*HOW, batch=16) == FIRST
        assert len(caplog.records) == number and str(table_path()) in caplog.records[-1].message
    write(json.dumps({table_key(*HOW): {"16": [512, 8, 2]}}))  # no candidate
    assert measured_tile(*HOW, batch=16) == FIRST and len(caplog.records) == number


def test_choices_are_added_to_those_of_other_cards():
    path = table_path()
    for key, tile in (("another", Tile(64, 8, 2)), (table_key(*HOW), LARGE)):
        assert conv_tiles.keep(path, key, {16: tile}) == "kept for later runs"
    assert set(json.loads(path.read_text())) == {"another", table_key(*HOW)}


def test_without_a_folder_that_can_be_written_nothing_is_kept(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert conv_tiles.keep(table_path(), "a", {16: LARGE}) == "not kept: Not a directory"
    assert measured_tile(*HOW, batch=16) == FIRST
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", "~")
    forget()
    assert conv_tiles.keep(table_path(), "a", {16: LARGE}) == "not kept: there is no home"
    assert measured_tile(*HOW, batch=16) == FIRST
