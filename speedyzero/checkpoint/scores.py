"""`RUN_DIR/scores.json`: every evaluation of a run, with the newest and the best repeated.

    {"last": {...}, "best": {...}, "all": [{"step": 500, "mean": 12.5, ...}, ...]}     all: oldest first

The reported score is that of the final weights. The best of many evaluations is biased upwards, so it is separate.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path

from speedyzero.system.atomic_file import write_json

SCORES_FILE = "scores.json"


def record_score(run_dir: str | Path, *, step: int, mean: float, **details: object) -> bool:
    """Append an evaluation; whether its mean is the best so far.

    step: the train step of its weights and checkpoint. details: additional JSON values.
    """
    if not math.isfinite(mean):
        raise ValueError(f"mean score {mean} of step {step} is not a number")
    score = {"step": step, "mean": mean, **details}
    scores = [*all_scores(run_dir), score]
    _write(run_dir, scores)
    return _best(scores) is score


def forget_scores_after(run_dir: str | Path, step: int) -> None:
    """Drop the scores of later train steps, which a resumed run evaluates again."""
    scores = all_scores(run_dir)
    kept = [score for score in scores if score["step"] <= step]
    if len(kept) < len(scores):
        if kept:
            _write(run_dir, kept)
        else:
            (Path(run_dir) / SCORES_FILE).unlink()


def read_scores(run_dir: str | Path) -> dict[str, dict]:
    """{"last": {...}, "best": {...}}, empty before the first evaluation. Raises ValueError if it cannot be read."""
    scores = all_scores(run_dir)
    return {"last": scores[-1], "best": _best(scores)} if scores else {}


def _best(scores: Sequence[dict]) -> dict:
    """The highest score, the first of equals."""
    return max(scores, key=lambda score: score["mean"])


def _write(run_dir: str | Path, scores: Sequence[dict]) -> None:
    write_json(Path(run_dir) / SCORES_FILE, {"last": scores[-1], "best": _best(scores), "all": scores})


def all_scores(run_dir: str | Path) -> list[dict]:
    """Every score, oldest first. Raises ValueError if the file cannot be read."""
    path = Path(run_dir) / SCORES_FILE
    if not path.exists():
        return []
    try:
        document = json.loads(path.read_bytes())
        last, best = document["last"], document["best"]
        # An older version wrote only these two, without "all".
        scores = document.get("all") or ([last] if best == last else [best, last])
        if not all(isinstance(score["step"], int) and math.isfinite(score["mean"]) for score in scores):
            raise KeyError("step")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged: {error!r}") from error
    return scores
