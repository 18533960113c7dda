"""When a checkpoint is due: a number of minutes or train steps after the previous one."""

import time
from collections.abc import Callable

from speedyzero.config import CheckpointConfig


class SaveClock:
    """Polled after every train step by the process that saves."""

    def __init__(self, config: CheckpointConfig, *, step: int, clock: Callable[[], float] = time.monotonic):
        """step: where the run was resumed; negative for a new run."""
        self._config, self._clock = config, clock
        self.saved(step)

    def due(self, step: int) -> bool:
        """Whether to save the state after this train step."""
        config = self._config
        if config.keep_last == 0 or step == self.saved_step:
            return False
        interval = config.interval_train_steps
        by_steps = interval > 0 and step // interval > max(self.saved_step, 0) // interval
        passed_s = self._clock() - self._saved_s
        return by_steps or 0 < config.interval_minutes * 60 <= passed_s

    def saved(self, step: int) -> None:
        """A save of this step was started or attempted."""
        self.saved_step, self._saved_s = step, self._clock()
