"""Runs side by side: GPUs of their own, and no more of them than there are."""

from dataclasses import replace

import pytest

from speedyzero.arguments.resolve import resolve
from speedyzero.experiments.grid.folder import slots_for
from speedyzero.experiments.grid.run import GridRun


def test_runs_side_by_side_have_gpus_of_their_own(monkeypatch: pytest.MonkeyPatch):
    planned = GridRun("base", 0, resolve(game="Catch", gpus=0), ())
    on_two = replace(planned, config=replace(planned.config, gpus=2))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,4,5,6,7")
    assert slots_for([planned], 3) == [{}, {}, {}]
    assert slots_for([planned, on_two], 2) == [{"CUDA_VISIBLE_DEVICES": "3,4"}, {"CUDA_VISIBLE_DEVICES": "5,6"}]
    with pytest.raises(ValueError, match="--jobs 3 with 2 GPUs each: 5 visible"):
        slots_for([on_two], 3)
