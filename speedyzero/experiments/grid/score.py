"""`python -m speedyzero.experiments.grid.score RUN_DIR`: the final evaluation of a run that was stopped in it.

All is trained and saved, so `train --resume` has nothing left to do there. The score is kept as the run would have.
"""

from __future__ import annotations

import sys
from pathlib import Path

from speedyzero.checkpoint.store import CheckpointStore
from speedyzero.config.documents import load_config
from speedyzero.observe.run_dir import run_log
from speedyzero.supervisor.keeper import RunKeeper


def score(run_dir: Path) -> None:
    """Raises ValueError where another process writes there, or the weights of its last train step are not whole."""
    config = load_config(run_dir / "config.yaml")
    with CheckpointStore(run_dir), run_log(run_dir):
        keeper = RunKeeper(config, run_dir)
        try:
            keeper.finish(config.schedule.total_train_steps)
        finally:
            keeper.close()


if __name__ == "__main__":
    score(Path(sys.argv[1]))
