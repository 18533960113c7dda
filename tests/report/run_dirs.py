"""Run directories as runs leave them, without a run."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from speedyzero.arguments.resolve import resolve
from speedyzero.config.documents import save_config
from speedyzero.observe.metrics import METRICS_FILE
from speedyzero.observe.system import SYSTEM_FILE
from speedyzero.system.atomic_file import write_json

PROCESSES = ("actor-0", "reanalyzer-0", "learner-0")
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
    train_steps: int = 400,
    reached: int = 400,
    evaluated: bool = True,
    processes: Sequence[str] = PROCESSES,
    sittings: int = 1,
    final_score: float = -15.0,
) -> Path:
    """A run that has come to `reached` of `train_steps`: 4 env steps and 0.5 s a train step, after 100 and 10 s."""
    run_dir.mkdir(parents=True)
    words = (f"schedule.train_steps={train_steps}", f"schedule.env_steps={4 * train_steps + 100}", *settings)
    (run_dir / "config.yaml").write_bytes(_config(preset, game, seed, words))
    lines = [*_learner(reached, seed), *_supervisor(reached, processes)]
    if evaluated:
        lines += _evaluations(reached, final_score)
        last = {
            "step": reached,
            "mean": final_score,
            "episodes": 32,
            "ci95": [final_score - 1.5, final_score + 1.25],
            "blind_twin": {"mean": -20.4, "ci95": [-20.6, -20.1], "summary": "-20.4"},
            "human_normalised": (final_score + 20.7) / 35.3 if game == "Pong" else None,
        }
        write_json(run_dir / "scores.json", {"last": last, "best": {**last, "step": 200, "mean": final_score + 2}})
    lines.sort(key=lambda line: line["time_s"])
    (run_dir / METRICS_FILE).write_text("".join(json.dumps(line) + "\n" for line in lines))
    write_json(run_dir / SYSTEM_FILE, [SYSTEM] * sittings)
    (run_dir / "checkpoints").mkdir()
    return run_dir


@cache
def _config(preset: str, game: str, seed: int, words: tuple[str, ...]) -> bytes:
    """A config.yaml; OmegaConf takes its time."""
    config = resolve(preset, game, seed, 0, None, ["schedule.head_start_env_steps=100", "actor.envs=2", *words])
    with tempfile.NamedTemporaryFile() as file:
        save_config(config, file.name)
        return Path(file.name).read_bytes()


def line(name: str, step: int, value: float, time_s: float | None = None) -> dict:
    return {"step": step, "time_s": 10 + 0.5 * step if time_s is None else time_s, "name": name, "value": value}


def _learner(reached: int, seed: int) -> Iterable[dict]:
    falling = (
        "loss",
        "prefix_loss",
        "value_loss",
        "policy_loss",
        "policy_entropy",
        "target_policy_entropy",
        "value_entropy",
    )
    for step in range(0, reached, 4):
        wave = 0.2 * math.sin(step * (seed + 1))
        for name in falling:
            yield line(f"learner/{name}", step, 5 * math.exp(-step / 100) + 0.5 + wave)
        yield line("learner/policy_information", step, step / 800)
        yield line("learner/projection_similarity", step, 0.05 * wave)
        yield line("actor/value_return_correlation", step, min(0.83, step / 400))
        yield line("actor/policy_information", step, min(0.5, step / 400))
        yield line("actor/search_information", step, min(0.7, step / 300))
        yield line("actor/prior_agreement", step, 0.25 + step / 800)
        yield line("actor/q_spread", step, step / 4000)
        yield line("learner/consistency_loss", step, -4.0 + wave)
        yield line("learner/predicted_root_value", step, step / 100 + wave)
        yield line("learner/learning_rate", step, 0.05)
        yield line("learner/batch_age", step, 2 + step % 3)
        yield line("learner/target_lag", step, 100 + step % 100)
        yield line("reanalyzer/env_steps", step, 100 + 4 * step)
        yield line("reanalyzer/priority_age_median", step, step / 4)
        yield line("reanalyzer/priority_age_max", step, step / 2)
        yield line("reanalyzer/eligible_positions", step, 90 + 4 * step)
        yield line("reanalyzer/refreshed_share", step, 0.5 + wave)
        yield line("reanalyzer/refresh_rank_correlation", step, 0.8 + wave)
        yield line("actor/game_score", step, -20 + step / 100 + 5 * wave)


def _supervisor(reached: int, processes: Sequence[str]) -> Iterable[dict]:
    """Every 10 s; a process computes half of the time, and waits for pace in a quarter of it."""
    for i in range(1, int(1 + 0.05 * reached)):
        time_s, step = 10.0 * i, max(0, 20 * (i - 1))
        for process in processes:
            shares = {"busy": 0.5, "wait_pacing": 0.25, "wait_input": 0.125, "wait_space": 0.0, "wait_group": 0.0}
            for kind, share in shares.items():
                yield line(f"time/{process}/{kind}_s", step, share * time_s, time_s)
        if processes:
            yield line("supervisor/env_steps", step, 100 + 4 * step, time_s)


def _evaluations(reached: int, final_score: float) -> Iterable[dict]:
    for step in range(100, reached + 1, 100):
        score = -20.7 + (final_score + 20.7) * step / reached
        known_s = 10 + 0.5 * step + 7  # it takes a while
        yield line("evaluate/mean_score", step, score, known_s)
        yield line("evaluate/mean_score_low", step, score - 1.5, known_s)
        yield line("evaluate/mean_score_high", step, score + 1.25, known_s)
