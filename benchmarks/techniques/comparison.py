"""Optimisers, Priority Refresh and the memo compared on a small game, one change at a time from its preset.

Every optimiser has the same sweep of rates and the same budget: each of the scene's on the first `SWEEP_SEEDS` seeds,
then its best, by area under the curve, on all seeds (the sweep's among them: that favours none, but all are a little
flattered). AdamW, the preset's own optimiser, is the base and keeps the preset's rate.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.common import RESULTS, write_result
from speedyzero.experiments.ablate.command import AblationFolder
from speedyzero.experiments.ablate.curves import draw_curves
from speedyzero.experiments.ablate.outcome import AblationOutcome
from speedyzero.experiments.ablate.plan import BASE, Ablation, Arm
from speedyzero.experiments.ablate.table import by_arm

RUNS = Path("runs/techniques")
FIGURES = Path("docs/figures")
OPTIMIZERS = ("sgd", "lars", "clipped_lars")
SWEEP_SEEDS, SEEDS = 2, (0, 1, 2, 3, 4)
WARMUP = "optimizer.warmup_fraction=0.08"
REFRESH_OFF = Arm("no refresh", ("refresh.enabled=false",))
MEMO_OFF = Arm("no memo", ("reanalyze.memo=false",))


@dataclass(frozen=True)
class Scene:
    """A game with a batch size, and how long its runs are."""

    game: str
    settings: tuple[str, ...]
    rates: tuple[str, ...]
    """The sweep of every optimiser."""


# Half the preset's play and one unrolled step, which suffice for Catch (docs/results/agents.md): minutes a table.
_CATCH = ("schedule.env_steps=2900", "target.unroll_steps=1", "evaluate.interval_episodes=100")


def _batches(size: int) -> tuple[str, ...]:
    """Batches of this size, with targets every 50 train steps and weights for the actors every 10."""
    samples = (f"target.interval_samples={50 * size}", f"learner.publish_interval_samples={10 * size}")
    return (f"learner.batch_size={size}", *samples)


SCENES = {
    "catch-256": Scene("Catch", (*_batches(256), "schedule.train_steps=600", *_CATCH), rates=("0.025", "0.1", "0.4")),
    "catch-2048": Scene("Catch", (*_batches(2048), "schedule.train_steps=300", *_CATCH), rates=("0.025", "0.1", "0.4")),
}


def compare_optimizers(
    name: str, *, rates: Sequence[str] | None = None, seeds: Sequence[int] = SEEDS, jobs: int = 1
) -> None:
    """Sweep, then compare each optimiser's best rate and the base. rates: None for the scene's."""
    shared = _shared(name)
    arms = tuple(_arm(one, rate) for one in OPTIMIZERS for rate in rates or SCENES[name].rates)
    sweep = replace(shared, arms=arms, seeds=tuple(seeds)[:SWEEP_SEEDS])
    swept = AblationFolder(sweep, RUNS / name, jobs=jobs).carry_out()
    arms = (Arm(BASE, ()), *(_best(swept, optimizer) for optimizer in OPTIMIZERS))
    _compare(name, replace(shared, arms=arms, seeds=tuple(seeds)), "optimizers", jobs=jobs, sweep=swept)


def compare_part(name: str, off: Arm, *, seeds: Sequence[int] = SEEDS, jobs: int = 1) -> None:
    """The base beside itself with one part switched off."""
    _compare(name, replace(_shared(name), arms=(Arm(BASE, ()), off), seeds=tuple(seeds)), off.name, jobs=jobs)


def _shared(name: str) -> Ablation:
    scene = SCENES[name]
    settings = ("cpu_threads=1", *scene.settings)
    return Ablation(arms=(), seeds=SEEDS, game=scene.game, gpus=0, inline=True, settings=settings)


def _compare(name: str, ablation: Ablation, what: str, *, jobs: int, sweep: Sequence[AblationOutcome] = ()) -> None:
    """Carry it out, which prints the table; keep the picture and raw results."""
    outcomes = AblationFolder(ablation, RUNS / name, jobs=jobs).carry_out()
    FIGURES.mkdir(parents=True, exist_ok=True)
    draw_curves(outcomes, FIGURES / f"{what.replace(' ', '-')}-{name}.png", title=name)
    results = {
        "scene": name,
        "compared": what,
        "settings": ablation.settings,
        "jobs": jobs,
        "sweep": [outcome.to_json() for outcome in sweep],
        "runs": [outcome.to_json() for outcome in outcomes],
    }
    path = write_result("bench_techniques", results, packages=("torch", "numba", "numpy"))
    print(f"raw in {path}")


def best_arms(scene: str, optimizers: Sequence[str]) -> list[str]:
    """The arms of these optimisers in the last comparison of a scene. Raises ValueError where there is none."""
    lines = (RESULTS / "bench_techniques.jsonl").read_text().splitlines()
    compared = [
        results
        for results in (json.loads(line)["results"] for line in lines)
        if results.get("compared") == "optimizers"
    ]
    last = next((results for results in reversed(compared) if results["scene"] == scene), None)
    if last is None:
        raise ValueError(f"{scene} was not compared yet: do that first")
    arms = dict.fromkeys(run["arm"] for run in last["runs"])
    return [next(arm for arm in arms if arm.startswith(f"{optimizer} ")) for optimizer in optimizers]


def _arm(optimizer: str, rate: str) -> Arm:
    settings = (f"optimizer.name={optimizer}", f"optimizer.learning_rate={rate}", WARMUP)
    return Arm(f"{optimizer} {rate}", settings)


def _best(swept: Sequence[AblationOutcome], optimizer: str) -> Arm:
    """The optimiser's arm with the largest mean area."""
    areas = {
        arm: np.mean([run.area for run in runs])
        for arm, runs in by_arm(swept).items()
        if arm.partition(" ")[0] == optimizer
    }
    return _arm(*max(areas, key=lambda arm: areas[arm]).split())
