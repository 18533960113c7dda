"""The page: what it says, and that it holds all that it shows."""

from __future__ import annotations

import base64
from html.parser import HTMLParser
from pathlib import Path

import pytest

from speedyzero.report.figures import Picture
from speedyzero.report.groups import group_runs
from speedyzero.report.page import page
from speedyzero.report.reading import read_run
from tests.report.run_dirs import make_run

PICTURE = Picture("score", "Score & <more>", "how to read it", b"\x89PNG not really")


class Seen(HTMLParser):
    """Every tag, every address in an attribute, and the text."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.cells: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]

    def handle_data(self, data: str) -> None:
        self.cells.append(data)


def made(*run_dirs: Path) -> tuple[str, Seen]:
    text = page(group_runs([read_run(run_dir) for run_dir in run_dirs]), [PICTURE])
    return text, Seen(text)


def test_it_holds_everything_and_runs_nothing(tmp_path: Path):
    text, seen = made(make_run(tmp_path / "run"))
    data = base64.b64encode(PICTURE.png).decode()
    assert seen.addresses == [f"data:image/png;base64,{data}"]
    assert not {"script", "link", "iframe", "object", "a"} & set(seen.tags)
    assert "url(" not in text and "@import" not in text
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in text


def test_what_a_run_says_is_text(tmp_path: Path):
    """Names come from the user: they are shown, not obeyed."""
    text, seen = made(make_run(tmp_path / "<script>alert(1)"))
    assert "<script>" not in text and "script" not in seen.tags
    assert any("<script>alert(1)" in cell for cell in seen.cells) and "Score & <more>" in seen.cells


def test_an_atari_game_stands_beside_published_scores(tmp_path: Path):
    _, seen = made(make_run(tmp_path / "run"))
    for cell in ("human-normalised", "0.161", "-15 (-16.5 to -13.75), 32 games", "-13 at train step 200"):
        assert cell in seen.cells, cell
    row = seen.cells[seen.cells.index("raw score") :]
    assert [cell for cell in row if cell.strip()][:4] == ["raw score", "-20.7", "14.6", "20.1"]


def test_what_an_agent_knows_is_told_in_a_sentence(tmp_path: Path):
    text, _ = made(make_run(tmp_path / "run"))
    assert "values correlate 0.83 with the returns; the policy has 0.50 nats of information" in text
    assert (
        "agree on 74% of the actions; the blind twin, with the same actions and without looking, scores -20.4." in text
    )


@pytest.mark.parametrize(("game", "preset"), [("CartPole-v1", "cartpole"), ("Catch", "catch")])
def test_another_game_is_not_normalised(tmp_path: Path, game: str, preset: str):
    text, _ = made(make_run(tmp_path / "run", game, preset=preset, final_score=7.0))
    assert "human-normalised" not in text and "Published" not in text
    assert "7 (5.5 to 8.25), 32 games" in text


def test_seeds_are_listed_and_averaged(tmp_path: Path):
    scores = [-10.0, -12.0, -17.0]
    text, _ = made(*(make_run(tmp_path / f"s{i}", seed=i, final_score=score) for i, score in enumerate(scores)))
    assert "Pong, laptop: mean of 3 seeds" in text and "<b>-13 (-17 to -10), 3 evaluated</b>" in text
    assert f"{(-13 + 20.7) / 35.3:.3f}" in text


def test_settings_that_differ_come_first_and_all_are_there(tmp_path: Path):
    text, seen = made(make_run(tmp_path / "a"), make_run(tmp_path / "b", settings=["learner.batch_size=32"]))
    differ, default = text.index("Where the runs differ"), text.index("Where they differ from the defaults")
    assert differ < text.index(">learner.batch_size<") < default < text.index("env.image_size_px")
    assert "num_simulations: 16" in text and seen.tags.count("details") == 2


def test_system_and_state_are_told(tmp_path: Path):
    text, _ = made(make_run(tmp_path / "run", reached=200, sittings=2, evaluated=False))
    for words in ("2 x H100 80GB HBM3", "16 cores, A Processor of 64 Cores", "torch 2.12.0+cu130", "0123456789ab",
                  "stopped at train step 196 of 400; resumed 1 time", "not evaluated yet", "1 x 2"):  # fmt: skip
        assert words in text, words
    assert text.count("2026-01-02 03:04:05 UTC") == 2
