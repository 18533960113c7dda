"""Reports in a real browser: every picture shows, nothing is fetched, nothing overlaps or is wider than the window."""

from __future__ import annotations

from pathlib import Path

import pytest

from speedyzero.cli import DONE, check_command, run
from speedyzero.report.command import PAGE_FILE
from speedyzero.report.figures import Picture
from speedyzero.report.groups import Group, group_runs
from speedyzero.report.page import page
from speedyzero.report.reading import read_run
from tests.report.browser import WIDTH_PX, Visit, visit
from tests.report.run_dirs import make_run

PLANTED_ADDRESS = "http://planted.invalid/picture.png"
# Each fault once: a picture from elsewhere, one that is no picture, texts over one another, and one that is too wide.
PLANTED = f"""<!DOCTYPE html><meta charset="utf-8"><body>
<img alt="from elsewhere" src="{PLANTED_ADDRESS}" width="50" height="50">
<img alt="no picture" src="data:image/png;base64,AAAA" width="50" height="50">
<p>one text</p><p style="margin-top: -34px">another text</p>
<p style="white-space: nowrap; width: 2000px">{"wide " * 400}</p>
"""


def groups_of(*run_dirs: Path) -> list[Group]:
    return group_runs([read_run(run_dir) for run_dir in run_dirs])


@pytest.fixture(scope="module")
def visited(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], Visit]:
    """One browser for all pages: it takes a second to start."""
    folder = tmp_path_factory.mktemp("pages")
    seeds = [make_run(folder / f"seed{seed}", seed=seed, final_score=-15.0 - seed) for seed in range(3)]
    other = make_run(folder / "other", settings=["learner.batch_size=32", "search.num_simulations=8"], sittings=2)
    cartpole = make_run(folder / "cartpole", "CartPole-v1", preset="cartpole", reached=80, evaluated=False)
    assert run(check_command, ["report", str(seeds[0])], prog="speedyzero") == DONE
    files = sorted((seeds[0] / "report").iterdir())
    assert [file.stem for file in files] == [
        "certainty",
        "knowledge",
        "losses",
        "replay",
        "score",
        "speed",
        "utilisation",
    ]
    # The same pictures on every page: drawing takes longest.
    pictures = [Picture(file.stem, file.stem, "how to read it", file.read_bytes()) for file in files]
    pages = {
        "atari": (seeds[0] / PAGE_FILE).read_text(),
        "cartpole": page(groups_of(cartpole), pictures),
        "several": page(groups_of(*seeds, other, cartpole), pictures),
        "planted": PLANTED,
    }
    paths = [folder / f"{name}.html" for name in pages]
    for path, text in zip(paths, pages.values(), strict=True):
        path.write_text(text)
    return list(pages), visit(paths)


@pytest.mark.parametrize("name", ["atari", "cartpole", "several"])
def test_a_report_shows_whole_and_alone(name: str, visited: tuple[list[str], Visit]):
    names, found = visited
    look = found.looks[names.index(name)]
    assert look.pictures == 7 and look.broken == []
    assert look.overlapping == []
    assert look.outside == [] and look.page_width_px <= WIDTH_PX
    assert {address for address in found.fetched if address != PLANTED_ADDRESS} == set()


def test_a_page_with_faults_is_found_out(visited: tuple[list[str], Visit]):
    names, found = visited
    look = found.looks[names.index("planted")]
    assert look.broken == ["from elsewhere", "no picture"]
    assert look.overlapping == ["one text / another text"]
    assert len(look.outside) == 1 and look.page_width_px > WIDTH_PX
    assert PLANTED_ADDRESS in found.fetched
