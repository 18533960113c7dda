"""Human-normalised scores (0: random play, 1: human) for the 26 games of the Atari 100k benchmark."""

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources


@dataclass(frozen=True)
class ReferenceScores:
    """Mean raw scores of one game."""

    random: float
    human: float
    efficientzero: float  # after 100k environment steps
    actions: int  # size of the minimal action set


def reference_scores(game: str) -> ReferenceScores | None:
    """The reference scores of a game, in any spelling ("MsPacman", "ms_pacman"); None if there are none."""
    return _all_games().get(_plain(game))


def human_normalised(game: str, score: float) -> float | None:
    """(score - random) / (human - random), or None for a game outside of the benchmark."""
    reference = reference_scores(game)
    return None if reference is None else (score - reference.random) / (reference.human - reference.random)


@cache
def benchmark_games() -> dict[str, ReferenceScores]:
    """The 26 games of Atari 100k by their usual names, in alphabetical order."""
    text = resources.files("speedyzero.evaluate").joinpath("atari100k_scores.json").read_text(encoding="utf-8")
    return {game: ReferenceScores(**scores) for game, scores in json.loads(text)["games"].items()}


def benchmark_name(game: str) -> str | None:
    """The usual name of one of the 26 games, given in any spelling; None for another game."""
    return next((name for name in benchmark_games() if _plain(name) == _plain(game)), None)


@cache
def _all_games() -> dict[str, ReferenceScores]:
    return {_plain(game): scores for game, scores in benchmark_games().items()}


def _plain(game: str) -> str:
    return game.replace("_", "").lower()
