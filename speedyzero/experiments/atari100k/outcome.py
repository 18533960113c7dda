"""The results of one benchmark run, read from its directory."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from speedyzero.checkpoint.scores import all_scores
from speedyzero.evaluate.human_normalised import human_normalised
from speedyzero.experiments.grid.run import GridRun, training_clock_s
from speedyzero.observe.metrics import read_metrics
from speedyzero.observe.system import read_systems

EARLY_FRAMES = 1_200_000  # SpeedyZero's 300,000 env steps of 4 frames
_NEAR = 0.05  # relative tolerance for the evaluation's frames
_OF_A_SYSTEM = ("commit", "cpu", "cores", "gpus")


@dataclass(frozen=True)
class GameOutcome:
    """One finished run, as in `results.json`."""

    game: str
    seed: int
    score: float  # raw, the mean over the final evaluation's episodes
    human_normalised: float
    env_steps: int
    train_steps: int
    train_s: float  # without the time spent waiting for evaluations
    early_score: float | None  # raw, of the evaluation after EARLY_FRAMES; None if there was none
    blind_twin: float | None  # raw (`evaluate/blind.py`); None if it was not scored
    policy_information: float | None  # nats; None if it was not recorded
    protocol: dict[str, Any]  # of the final evaluation
    systems: tuple[dict[str, Any], ...]  # the distinct hardware and commits it was trained on


def read_outcome(run: GridRun, run_dir: Path, score: dict[str, Any]) -> GameOutcome:
    """The outcome of a finished run. score: from `final_score`. Raises ValueError for a damaged directory.

    A game cut off by the protocol's frame limit counts with its score so far, as is usual.
    """
    normalised = human_normalised(run.group, score["mean"])
    assert normalised is not None, run.group
    systems = [{name: entry.get(name) for name in _OF_A_SYSTEM} for entry in read_systems(run_dir)]
    return GameOutcome(
        game=run.group,
        seed=run.seed,
        score=score["mean"],
        human_normalised=normalised,
        env_steps=score["env_steps"],
        train_steps=score["step"],
        train_s=round(float(training_clock_s(read_metrics(run_dir))[-1]), 1),
        early_score=_early_score(run_dir),
        blind_twin=(score.get("blind_twin") or {}).get("mean"),
        policy_information=score.get("policy_information"),
        protocol=score["protocol"],
        systems=tuple(entry for index, entry in enumerate(systems) if entry not in systems[:index]),
    )


def _early_score(run_dir: Path) -> float | None:
    for score in all_scores(run_dir):
        frames = score.get("env_steps", 0) * score.get("protocol", {}).get("frame_skip", 0)
        if abs(frames - EARLY_FRAMES) <= _NEAR * EARLY_FRAMES:
            return score["mean"]
    return None
