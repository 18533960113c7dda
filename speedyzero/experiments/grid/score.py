"""`python -m speedyzero.experiments.grid.score RUN_DIR`: repeats a final evaluation that was interrupted.

The run is fully trained and saved, so `train --resume` has nothing left to do. Records the score as the run itself
would.
"""

import sys
from pathlib import Path

from speedyzero.checkpoint.store import CheckpointStore
from speedyzero.config.documents import load_config
from speedyzero.observe.run_dir import run_log
from speedyzero.supervisor.keeper import RunKeeper


def score(run_dir: Path) -> None:
    """Raises ValueError if another process is writing there, or the last train step's weights are damaged."""
    config = load_config(run_dir / "config.yaml")
    with CheckpointStore(run_dir), run_log(run_dir):
        keeper = RunKeeper(config, run_dir)
        try:
            keeper.finish(config.schedule.total_train_steps)
        finally:
            keeper.close()


if __name__ == "__main__":
    score(Path(sys.argv[1]))
