"""Whether results are those of the full benchmark, and if not, why: partial results are always marked.

Atari 100k (Kaiser et al. 2020, arXiv 1903.00374) is 26 games with 100,000 agent steps of 4 frames each. It prescribes
how long the agent plays and how it is scored, not how it learns.
"""

from collections.abc import Sequence
from typing import Any

from speedyzero.config import Config, get
from speedyzero.evaluate.human_normalised import benchmark_games
from speedyzero.experiments.atari100k.outcome import GameOutcome

# Prescribed by the benchmark, or used for the published scores that ours are compared with (Ye et al. 2021).
PRESCRIBED: dict[str, Any] = {
    "schedule.env_steps": 100_000,
    "env.frame_skip": 4,
    "env.noop_max": 30,
    "env.eval_limit_frames": 108_000,
    "evaluate.action": "most_visited",
    "init_from": "",
}
FEWEST_EPISODES = 32


def shortfalls(config: Config, seeds: int, outcomes: Sequence[GameOutcome]) -> list[str]:
    """How the results differ from the benchmark's, in short phrases; empty if they don't. config: of any run. seeds:
    requested per game."""
    counts = {game: sum(one.game == game for one in outcomes) for game in benchmark_games()}
    absent = [game for game, count in counts.items() if count == 0]
    partly = [f"{game} ({count} of {seeds})" for game, count in counts.items() if 0 < count < seeds]
    found = []
    if absent:
        found.append(f"{len(counts) - len(absent)} of 26 games; without {', '.join(absent)}")
    if partly:
        found.append(f"not all seeds of {', '.join(partly)}")
    return [*found, *_other_settings(config)]


def _other_settings(config: Config) -> list[str]:
    found = [
        f"{path}={get(config, path)} instead of {prescribed or 'none'}"
        for path, prescribed in PRESCRIBED.items()
        if get(config, path) != prescribed
    ]
    if config.evaluate.episodes < FEWEST_EPISODES:
        episodes = counted(config.evaluate.episodes, "episode")
        found.append(f"scores of {episodes} instead of {FEWEST_EPISODES}")
    return found


def headline(why_not: Sequence[str], seeds: int) -> str:
    """The Markdown line above every table."""
    if why_not:
        return f"**NOT a result of the Atari 100k benchmark:** {'; '.join(why_not)}."
    return f"Atari 100k: 26 games, {counted(seeds, 'seed')} each."


def counted(number: int, thing: str) -> str:
    """As "1 seed" and "2 seeds"."""
    return f"{number} {thing}{'' if number == 1 else 's'}"
