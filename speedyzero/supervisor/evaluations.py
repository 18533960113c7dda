"""Evaluations on the interval, each in a process of its own beside training."""

import time
from collections.abc import Callable
from pathlib import Path

from speedyzero.config import Config
from speedyzero.evaluate import process as evaluate_process
from speedyzero.runtime.fork_server import Forked, ForkServer, NotStarted
from speedyzero.supervisor.keeper import RunKeeper

_TICK_S = 0.05


class Evaluations:
    """At most one evaluator at a time; it scores the newest checkpoint and skips older ones."""

    def __init__(self, config: Config, run_dir: Path, keeper: RunKeeper, server: ForkServer):
        self._config, self._run_dir, self._keeper, self._server = config, run_dir, keeper, server
        self._process: Forked | None = None
        self._step = self._unscored_step = 0

    def follow(self, checkpoint_step: int, unscored_step: int) -> None:
        """Record a finished score; start scoring a new checkpoint. The supervisor scores the final one itself.

        unscored_step: of weights that could not be written; reported.
        """
        if unscored_step > self._unscored_step:
            self._unscored_step = unscored_step
            self._keeper.note(f"no score of train step {unscored_step}: its weights were not saved; training continues")
        if self._process is not None and not self._process.alive:
            self._book()
        is_last = checkpoint_step >= self._config.schedule.total_train_steps
        if self._process is None and checkpoint_step > self._step and not is_last:
            self._step = checkpoint_step
            try:
                order = (self._config, self._run_dir, checkpoint_step)
                self._process = self._server.start(evaluate_process.main, order)
            except NotStarted as error:
                self._keeper.note(f"no score of train step {checkpoint_step}: {error}")

    def stop(self, *, give_up: Callable[[], bool]) -> None:
        """Wait for the evaluation under way, or kill it once `give_up` holds."""
        if self._process is None:
            return
        while self._process.alive and not give_up():
            time.sleep(_TICK_S)
        if self._process.alive:
            self._process.kill()
            self._keeper.note(f"the evaluation of train step {self._step} was cancelled")
        else:
            self._book()

    def _book(self) -> None:
        assert self._process is not None
        if self._process.exit_code == 0:
            self._keeper.book_score(self._step)
        else:
            self._keeper.note(
                f"the evaluation of train step {self._step} ended with exit code {self._process.exit_code}"
            )
        self._process = None
