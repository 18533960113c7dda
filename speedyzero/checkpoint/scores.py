"""`RUN_DIR/scores.json`: the newest and the best evaluation of a run, kept apart.

The final weights are what is reported; the best of many evaluations is a second number, for it was picked by luck too.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

from speedyzero.checkpoint.atomic_file import write_json

SCORES_FILE = "scores.json"


def record_score(run_dir: str | Path, *, step: int, mean: float, **details: object) -> bool:
    """Make this evaluation the last, and the best if its mean is above all before; whether it is the best.

    step: the train step of its weights, which names its checkpoint. details: more to keep, as JSON.
    """
    if not math.isfinite(mean):
        raise ValueError(f"mean score {mean} of step {step} is not a number")
    scores = read_scores(run_dir)
    score = {"step": step, "mean": mean, **details}
    is_best = "best" not in scores or mean > scores["best"]["mean"]
    write_json(Path(run_dir) / SCORES_FILE, {"last": score, "best": score if is_best else scores["best"]})
    return is_best


def forget_scores_after(run_dir: str | Path, step: int) -> None:
    """Drop the scores of later train steps: a resumed run comes to those anew."""
    scores = read_scores(run_dir)
    kept = {kind: score for kind, score in scores.items() if score["step"] <= step}
    if kept != scores:
        if kept:
            write_json(Path(run_dir) / SCORES_FILE, {"last": kept["best"], "best": kept["best"], **kept})
        else:
            (Path(run_dir) / SCORES_FILE).unlink()


def read_scores(run_dir: str | Path) -> dict[str, dict]:
    """{"last": {...}, "best": {...}}, empty before the first evaluation. Raises ValueError if it cannot be read."""
    path = Path(run_dir) / SCORES_FILE
    if not path.exists():
        return {}
    try:
        scores = json.loads(path.read_bytes())
        if not all(isinstance(scores[kind]["step"], int) for kind in ("last", "best")):
            raise KeyError("step")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged: {error!r}") from error
    return scores
