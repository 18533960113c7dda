"""What is drawn in the pictures."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from speedyzero.report.figures import draw
from speedyzero.report.groups import group_runs
from speedyzero.report.reading import read_run
from tests.report.run_dirs import make_run


def drawn(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> list[Axes]:
    """The panels of every picture of a run; nothing is saved."""
    panels: list[Axes] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, file, **_: panels.extend(figure.axes))
    draw(group_runs([read_run(run_dir)]))
    return panels


def test_evaluations_are_drawn_by_env_steps_and_minutes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    by_steps, by_minutes, *_ = drawn(make_run(tmp_path / "run"), monkeypatch)
    for axes, x in ((by_steps, [500, 900, 1300, 1620]), (by_minutes, [1, 11 / 6, 16 / 6, 208 / 60])):
        (dots,) = [line for line in axes.lines if line.get_marker() == "o"]
        np.testing.assert_allclose(dots.get_xydata().T, [x, [-20, -13, -16, -15]])
        ends = np.array(axes.collections[0].get_segments())[:, :, 1]
        np.testing.assert_allclose(ends - dots.get_ydata()[:, None], [[-1.5, 1.25]] * 4)


def test_a_run_of_its_first_seconds_says_that_there_is_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run_dir = make_run(tmp_path / "run", "CartPole-v1", preset="cartpole", reached=0, evaluated=False)
    words = [text.get_text() for axes in drawn(run_dir, monkeypatch) for text in axes.texts]
    assert words == ["no game has ended yet"] * 2 + ["not recorded"] * 6
