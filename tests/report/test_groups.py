"""Which runs share a curve, what they are called, and the curve, by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from speedyzero.config import get
from speedyzero.config.settings import SETTINGS, build
from speedyzero.evaluate.result import bootstrap_ci95
from speedyzero.report.groups import Line, combined, group_runs, smoothed
from speedyzero.report.reading import RunRecord, read_run
from tests.report.run_dirs import make_run


def read(*run_dirs: Path):
    return [read_run(run_dir) for run_dir in run_dirs]


def test_seeds_share_a_curve_and_settings_do_not(tmp_path: Path):
    seeds = [make_run(tmp_path / f"seed{seed}", seed=seed) for seed in range(3)]
    other = make_run(tmp_path / "other", settings=["learner.batch_size=32"])
    groups = group_runs(read(*seeds[:2], other, seeds[2]))
    assert [[run.config.seed for run in group.runs] for group in groups] == [[0, 1, 2], [0]]
    assert [group.label for group in groups] == [
        "Pong, laptop, learner.batch_size=256",
        "Pong, laptop, learner.batch_size=32",
    ]
    assert len({group.colour for group in groups}) == 2


def test_games_and_presets_are_names_enough(tmp_path: Path):
    runs = read(make_run(tmp_path / "a"), make_run(tmp_path / "b", "Catch", preset="catch"))
    assert [group.label for group in group_runs(runs)] == ["Pong, laptop", "Catch, catch"]


def changed(run: RunRecord, name: str, **settings: object) -> RunRecord:
    """The same run under another name and with other settings, "actor__envs" for actor.envs."""
    values = {path: get(run.config, path) for path in SETTINGS}
    values |= {path.replace("__", "."): value for path, value in settings.items()}
    return replace(run, run_dir=run.run_dir.with_name(name), config=build(values))


def test_labels_name_what_tells_runs_of_a_game_apart_and_no_more(tmp_path: Path):
    """Another game's settings are none of theirs."""
    (run,) = read(make_run(tmp_path / "run"))
    runs = [
        changed(run, "a", search__num_simulations=8, actor__envs=3),
        changed(run, "b", search__num_simulations=8, actor__envs=4),
        changed(run, "c", env__game="Catch", preset="catch", env__stack=1),
    ]
    assert [group.label for group in group_runs(runs)] == [
        "Pong, laptop, actor.envs=3",
        "Pong, laptop, actor.envs=4",
        "Catch, catch",
    ]


def test_where_too_much_differs_the_name_tells_runs_apart(tmp_path: Path):
    (run,) = read(make_run(tmp_path / "run"))
    runs = [
        changed(run, "a", search__num_simulations=8, actor__envs=3, learner__batch_size=16),
        changed(run, "b", search__num_simulations=8, actor__envs=3, learner__batch_size=32),
        changed(run, "c", search__num_simulations=4, actor__envs=4),
    ]
    assert [group.label for group in group_runs(runs)] == [
        "Pong, laptop, search.num_simulations=8, actor.envs=3 (a)",
        "Pong, laptop, search.num_simulations=8, actor.envs=3 (b)",
        "Pong, laptop, search.num_simulations=4, actor.envs=4",
    ]


def test_the_mean_of_seeds_reaches_as_far_as_all_of_them(tmp_path: Path):
    (group,) = group_runs(read(make_run(tmp_path / "a"), make_run(tmp_path / "b", seed=1)))
    lines = {0: Line(np.array([0.0, 10.0]), np.array([0.0, 10.0])), 1: Line(np.array([2.0, 6.0]), np.array([4.0, 4.0]))}
    line = combined(group, lambda run: lines[run.config.seed])
    np.testing.assert_allclose(line.x, [2, 6])
    np.testing.assert_allclose(line.y, [3, 5])
    intervals = [bootstrap_ci95(np.array(pair)) for pair in ((2.0, 4.0), (6.0, 4.0))]
    np.testing.assert_allclose(line.low, [interval[0] for interval in intervals])
    np.testing.assert_allclose(line.high, [interval[1] for interval in intervals])


def test_without_points_there_is_no_line(tmp_path: Path):
    nothing, point = Line(np.zeros(0), np.zeros(0)), Line(np.ones(1), np.ones(1))
    (alone,) = group_runs(read(make_run(tmp_path / "a")))
    (two,) = group_runs(read(tmp_path / "a", make_run(tmp_path / "b", seed=1)))
    assert combined(alone, lambda run: nothing) is None
    assert combined(alone, lambda run: point) is point
    assert combined(two, lambda run: point) is None
    assert combined(two, lambda run: point if run.config.seed else nothing) is point


@pytest.mark.parametrize("width", [1, 2, 3, 7])
def test_a_running_mean_by_a_slow_loop(width: int):
    values = np.random.default_rng(0).normal(size=20)
    expected = [values[max(0, i + 1 - width) : i + 1].mean() for i in range(20)]
    np.testing.assert_allclose(smoothed(Line(np.arange(20.0), values), width).y, expected)
    half = width // 2
    expected = [values[max(0, i - half) : i + half + 1].mean() for i in range(20)] if width > 1 else values
    np.testing.assert_allclose(smoothed(Line(np.arange(20.0), values), width, centred=True).y, expected)
