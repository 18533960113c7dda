"""The pictures: every panel has axes with units, and no two texts overlap or leave the picture."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from speedyzero.report.figures import Picture, certainty_picture, score_picture
from speedyzero.report.groups import Group, group_runs
from speedyzero.report.making import draw
from speedyzero.report.reading import read_run
from speedyzero.report.utilisation import utilisation_picture
from tests.report.run_dirs import make_run

MANY = tuple(f"{role}-{i}" for role in ("actor", "reanalyzer", "learner") for i in range(3))[:-1]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures of every picture that is made, laid out as they would be saved, but not saved."""
    figures: list[Figure] = []

    def savefig(self: Figure, file: io.BytesIO, **_: object) -> None:
        figures.append(self)
        FigureCanvasAgg(self).draw()
        file.write(b"\x89PNG")

    monkeypatch.setattr(Figure, "savefig", savefig)
    return figures


def groups_of(*run_dirs: Path) -> list[Group]:
    return group_runs([read_run(run_dir) for run_dir in run_dirs])


def assert_readable(pictures: Sequence[Picture | None], drawn: Sequence[Figure]) -> None:
    assert len(pictures) == len(drawn)
    for picture, figure in zip(pictures, drawn, strict=True):
        assert picture is not None and picture.png.startswith(b"\x89PNG")
        assert_labelled(figure, picture.name)
        assert_apart(figure, picture.name)


def test_seeds_settings_and_games_side_by_side(tmp_path: Path, drawn: list[Figure]):
    seeds = [make_run(tmp_path / f"seed{seed}", seed=seed, final_score=-15.0 - seed) for seed in range(2)]
    other = make_run(tmp_path / "batch", settings=["learner.batch_size=32", "search.num_simulations=8"])
    going_on = make_run(tmp_path / "catch", "Catch", preset="catch", processes=(), reached=60, evaluated=False)
    pictures = draw(groups_of(*seeds, other, going_on))
    assert [picture.name for picture in pictures] == [
        "score-Pong", "score-Catch", "knowledge", "losses", "certainty", "replay", "utilisation", "speed",
    ]  # fmt: skip
    assert_readable(pictures, drawn)


def test_one_run_of_many_processes(tmp_path: Path, drawn: list[Figure]):
    groups = groups_of(make_run(tmp_path / "run", processes=MANY))
    assert_readable([utilisation_picture(groups)], drawn)


def test_a_run_of_its_first_seconds_says_that_there_is_nothing(tmp_path: Path, drawn: list[Figure]):
    groups = groups_of(make_run(tmp_path / "run", "CartPole-v1", preset="cartpole", reached=0, evaluated=False))
    assert_readable([score_picture(groups), certainty_picture(groups)], drawn)
    words = [text.get_text() for figure in drawn for axes in figure.axes for text in axes.texts]
    assert words == ["no game has ended yet"] * 2 + ["not recorded"] * 3
    assert utilisation_picture(groups) is None


def test_texts_that_overlap_are_found_out(drawn: list[Figure]):
    figure = Figure(layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel="x", ylabel="y")
    axes.text(0.5, 0.5, "one text")
    figure.savefig(io.BytesIO())
    assert_apart(figure, "apart")
    axes.text(0.52, 0.5, "and another")
    with pytest.raises(AssertionError, match="overlap"):
        assert_apart(figure, "planted")


def assert_labelled(figure: Figure, name: str) -> None:
    for axes in figure.axes:
        if axes.axison and axes.get_xticks().size:
            assert axes.get_xlabel(), f"{name}: {axes.get_title(loc='left')!r} has no label at its x axis"
    first = figure.axes[0]
    bars = [label.get_text() for label in first.get_yticklabels()] if first.patches else []
    assert first.get_ylabel() or bars or not first.get_yticks().size, name


def assert_apart(figure: Figure, name: str) -> None:
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    renderer = canvas.get_renderer()
    whole = figure.bbox
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in texts(figure)]
    for text, box in boxes:
        inside = box.x0 >= -1 and box.y0 >= -1 and box.x1 <= whole.x1 + 1 and box.y1 <= whole.y1 + 1
        assert inside, f"{name}: {text!r} leaves the picture"
    for (one, a), (other, b) in itertools.combinations(boxes, 2):
        width, height = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        assert width <= 0.5 or height <= 0.5, f"{name}: {one!r} and {other!r} overlap"


def texts(figure: Figure) -> Iterator[Text]:
    """Every text that is seen: titles, labels, ticks inside of the axes' limits, legends."""
    for axes in figure.axes:
        if not axes.axison:
            continue
        for axis, limits in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
            for tick in axis.get_major_ticks():
                if min(limits) <= tick.get_loc() <= max(limits) and tick.label1.get_text():
                    yield tick.label1
            if axis.label.get_text():
                yield axis.label
        yield from (text for text in (axes.title, axes._left_title, *axes.texts) if text.get_text())
    for legend in figure.legends:
        yield from legend.get_texts()
