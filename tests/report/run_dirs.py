"""Run directories as runs leave them, without a run."""

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from speedyzero.arguments.resolve import resolve
from speedyzero.checkpoint.scores import record_score
from speedyzero.config.documents import config_document
from speedyzero.observe.metrics import METRICS_FILE
from speedyzero.observe.system import SYSTEM_FILE
from speedyzero.system.atomic_file import write_json

SCHEDULE = ("schedule.train_steps=400", "schedule.env_steps=1700", "schedule.head_start_env_steps=100", "actor.envs=2")
SYSTEM = {
    "time": "2026-01-02 03:04:05 UTC",
    "commit": "0123456789ab",
    "cpu": "A Processor of 64 Cores",
    "cores": 16,
    "memory_gib": 123.4,
    "gpus": ["H100 80GB HBM3"] * 2,
    "kernel": "Linux 6.1 x86_64",
    "python": "3.12.1",
    "packages": {"torch": "2.12.0+cu130", "numpy": "2.4.0", "minatar": None},
}


def make_run(
    run_dir: Path,
    game: str = "Pong",
    *,
    preset: str = "laptop",
    seed: int = 0,
    settings: Sequence[str] = (),
    reached: int = 400,
    evaluated: bool = True,
    processes: Sequence[str] = ("actor-0", "reanalyzer-0", "learner-0"),
    sittings: int = 1,
    final_score: float = -15.0,
) -> Path:
    """A run that has come to `reached` of 400 train steps: 4 env steps and 0.5 s a train step, after 100 and 10 s."""
    run_dir.mkdir(parents=True)
    config = resolve(preset, game, seed, 0, None, [*SCHEDULE, *settings])
    (run_dir / "config.yaml").write_text(json.dumps(config_document(config), indent=1))
    lines = sorted((*_learner(reached, seed), *_supervisor(reached, processes)), key=lambda line: line["time_s"])
    (run_dir / METRICS_FILE).write_text("".join(json.dumps(line) + "\n" for line in lines))
    write_json(run_dir / SYSTEM_FILE, [SYSTEM] * sittings)
    (run_dir / "checkpoints").mkdir()
    means = {100: -20.0, 200: final_score + 2, 300: final_score - 1, 400: final_score}
    for step, mean in means.items() if evaluated else ():
        if step <= reached:
            details = {"episodes": 32, "ci95": [mean - 1.5, mean + 1.25], "blind_twin": {"mean": -20.4}}
            normalised = (mean + 20.7) / 35.3 if game == "Pong" else None
            record_score(run_dir, step=step, mean=mean, human_normalised=normalised, **details)
    return run_dir


def line(name: str, step: int, value: float, time_s: float | None = None) -> dict:
    return {"step": step, "time_s": 10 + 0.5 * step if time_s is None else time_s, "name": name, "value": value}


def _learner(reached: int, seed: int) -> Iterable[dict]:
    for step in range(0, reached, 4):
        wave = 0.2 * math.sin(step * (seed + 1))
        values = {
            "learner/loss": 5 * math.exp(-step / 100) + wave,
            "learner/policy_entropy": 1.8 - step / 400,
            "learner/target_policy_entropy": 1.5 - step / 400,
            "learner/projection_similarity": 0.1,
            "reanalyzer/env_steps": 100 + 4 * step,
            "actor/value_return_correlation": min(0.83, step / 400),
            "actor/policy_information": min(0.5, step / 400),
            "actor/search_information": min(0.7, step / 300),
            "actor/prior_agreement": 0.25 + step / 800,
            "actor/q_spread": step / 4000,
            "actor/game_score": -20 + step / 100 + 5 * wave,
        }
        yield from (line(name, step, value) for name, value in values.items())


def _supervisor(reached: int, processes: Sequence[str]) -> Iterable[dict]:
    """Every 10 s; a process computes half of the time, and waits for pace in a quarter of it."""
    shares = {"busy": 0.5, "wait_pacing": 0.25, "wait_input": 0.12, "wait_space": 0.0, "wait_group": 0.0}
    for i in range(1, int(1 + 0.05 * reached)):
        time_s, step = 10.0 * i, max(0, 20 * (i - 1))
        for process in processes:
            yield from (line(f"time/{process}/{kind}_s", step, shares[kind] * time_s, time_s) for kind in shares)
        if processes:
            yield line("supervisor/env_steps", step, 100 + 4 * step, time_s)
