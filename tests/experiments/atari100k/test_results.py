"""What may call itself the benchmark, and the table and pictures, on outcomes made by hand."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from speedyzero.config import Config
from speedyzero.evaluate.human_normalised import benchmark_games, human_normalised
from speedyzero.experiments.atari100k.outcome import GameOutcome
from speedyzero.experiments.atari100k.pictures import draw_aggregates, draw_profile
from speedyzero.experiments.atari100k.plan import Benchmark, plan_runs
from speedyzero.experiments.atari100k.standing import shortfalls
from speedyzero.experiments.atari100k.summary import Summary
from speedyzero.experiments.atari100k.summary import summarise as summarise_fully
from speedyzero.experiments.atari100k.table import table_of

GAMES = tuple(benchmark_games())


def outcome(game: str, seed: int, score: float, *, truncated: int = 0) -> GameOutcome:
    normalised = human_normalised(game, score)
    assert normalised is not None
    protocol = {"truncated_episodes": truncated}
    return GameOutcome(
        game, seed, score, normalised, 100_000, 18_000, 90.0 * (1 + seed),
        early_score=score - 5, blind_twin=None if game == "Freeway" else -20.5, policy_information=0.25 + seed / 2,
        protocol=protocol, systems=(),
    )  # fmt: skip


def summarise(outcomes: list[GameOutcome], why_not: list[str]) -> Summary:
    """Few replicates: what intervals are is tested in test_aggregates.py."""
    return summarise_fully(outcomes, why_not, replicates=200)


def planned(*settings: str) -> Config:
    return plan_runs(Benchmark(games=("Pong",), seeds=(0,), gpus=0, settings=settings))[0].config


EVERY = [outcome(game, seed, benchmark_games()[game].efficientzero) for seed in range(2) for game in GAMES]


def test_all_games_and_seeds_with_the_preset_are_the_benchmark():
    assert shortfalls(planned(), 2, EVERY) == []
    table = table_of(GAMES, 2, EVERY, {}, summarise(EVERY, []))
    assert table.startswith("Atari 100k: 26 games, 2 seeds each.\n") and "NOT" not in table


@pytest.mark.parametrize(
    ("settings", "outcomes", "expected"),
    [
        ((), EVERY[1:], "not all seeds of Alien (1 of 2)"),
        ((), [one for one in EVERY if one.game != "Qbert"], "25 of 26 games; without Qbert"),
        (("schedule.env_steps=300000",), EVERY, "schedule.env_steps=300000 instead of 100000"),
        (("evaluate.episodes=1",), EVERY, "scores of 1 episode instead of 32"),
        (("env.frame_skip=3",), EVERY, "env.frame_skip=3 instead of 4"),
        (("init_from=elsewhere",), EVERY, "init_from=elsewhere instead of none"),
    ],
)
def test_whatever_falls_short_is_named(settings: tuple[str, ...], outcomes: list[GameOutcome], expected: str):
    (why,) = shortfalls(planned(*settings), 2, outcomes)
    assert why == expected
    table = table_of(GAMES, 2, outcomes, {}, summarise(outcomes, [why]))
    assert table.count(f"**NOT a result of the Atari 100k benchmark:** {expected}.") == 2  # above scores and aggregates


def test_rows_and_aggregates_by_hand():
    some = [outcome("Pong", 0, 14.6), outcome("Pong", 1, -20.7), outcome("Freeway", 0, 14.8, truncated=3)]
    lines = table_of(("Pong", "Freeway", "Alien"), 2, some, {"Alien, seed 0": "lost"}, summarise(some, [])).splitlines()
    assert (
        "| Pong | -20.7 | 14.6 | 20.1 | -8.05 | -3.0 (-20.7 to 14.6) | 0.50 (0.00 to 1.00) | -20.5 | 0.50 | 2 | 2.2 |"
        in lines
    )
    assert "| Freeway | 0 | 29.6 | 21.8 | 9.8 | 14.8 | 0.50 |  | 0.25 | 1 | 1.5 |" in lines
    assert "| Alien | 227.8 | 7127.7 | 808.5 |  | missing | missing |  |  | 0 |  |" in lines
    # games' means 0.5 and 0.5, Pong's between 0 and 1; EfficientZero's are 40.8 / 35.3 and 21.8 / 29.6
    assert "| mean | 0.500 (0.250 to 0.750) | 0.946 |" in lines
    assert "| optimality gap (lower is better) | 0.500 (0.250 to 0.750) | 0.132 |" in lines
    assert "- Alien, seed 0: lost" in lines
    assert "Cut off by the evaluation's frame limit, their score till then counted: 3 episodes." in lines


def test_published_points_are_of_the_same_games():
    summary = summarise(EVERY, [])
    published = [round(summary.published[name].value, 3) for name in ("mean", "median", "iqm")]
    assert published == [1.943, 1.090, 1.047]
    assert summary.aggregates["mean"].value == pytest.approx(summary.published["mean"].value)
    pong = summarise(EVERY[GAMES.index("Pong") : GAMES.index("Pong") + 1], ["part"])
    assert pong.games == ("Pong",) and pong.published["mean"].value == pytest.approx(40.8 / 35.3)
    assert pong.to_json()["is_the_benchmark"] is False


@pytest.mark.parametrize("why_not", [[], ["1 of 26 games", "x" * 500]])
def test_pictures_are_drawn_and_say_where_they_are_no_benchmark(why_not: list[str], tmp_path: Path):
    rng = np.random.default_rng(0)
    summary = summarise([outcome(one.game, one.seed, one.human_normalised * rng.random()) for one in EVERY], why_not)
    for draw, size in ((draw_profile, (550, 880)), (draw_aggregates, (396, 1100))):
        draw(summary, tmp_path / "it.png")
        pixels = np.asarray(Image.open(tmp_path / "it.png"))[..., :3]
        assert pixels.shape[:2] == size
        is_warning = np.all(pixels[: size[0] // 4] == (0xB2, 0x22, 0x22), axis=-1)  # the title's red
        assert is_warning.any() == bool(why_not)
