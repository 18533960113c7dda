"""How far play may run ahead of learning, and learning of play.

Sample efficiency must not depend on the machine's speed, so both follow one line:

    env steps due at train step k = head start + (env_steps - head start) * min(k / train_steps, 1)

The actors stop a slack above the line, the learner waits below it. The slack is at least one tick of all environments,
so that one side can always progress, and OVERLAP train steps' worth of play, so that both can work at once instead of
taking turns. After `train_steps` the learner continues on frozen data.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from speedyzero.config import Config, ScheduleConfig
from speedyzero.config.placement import place

RECORDS_PER_RUN = 500
OVERLAP = 2


def slack_env_steps(schedule: ScheduleConfig, tick_env_steps: int) -> int:
    """How far play may be ahead of the line. tick_env_steps: of all environments."""
    env_steps_per_train_step = (schedule.env_steps - schedule.head_start_env_steps) / schedule.train_steps
    return max(schedule.pacing_slack_env_steps, tick_env_steps, math.ceil(OVERLAP * env_steps_per_train_step))


def record_interval(schedule: ScheduleConfig) -> int:
    """Train steps between two records of a role's metrics."""
    return max(1, schedule.total_train_steps // RECORDS_PER_RUN)


@dataclass(frozen=True)
class Pacing:
    schedule: ScheduleConfig
    tick_env_steps: int
    """Env steps that one tick of all actors may add: their environments."""
    actors: int = 1

    @classmethod
    def of(cls, config: Config) -> Pacing:
        """The pacing of a run, the same for each of its roles."""
        actors = len(place(config).actors)
        return cls(config.schedule, tick_env_steps=actors * config.actor.envs, actors=actors)

    def env_steps_due(self, train_steps: int) -> float:
        """Env steps that must have been played before the train step after `train_steps`."""
        schedule = self.schedule
        played = min(train_steps / schedule.train_steps, 1.0)
        return schedule.head_start_env_steps + played * (schedule.env_steps - schedule.head_start_env_steps)

    def may_play(self, *, env_steps: int, train_steps: int) -> bool:
        """Whether an actor that has taken `env_steps` may take another tick.

        Each follows the line for its own share, so that lanes stay equally long whatever the actors' speeds.
        """
        slack = slack_env_steps(self.schedule, self.tick_env_steps)
        share = env_steps * self.actors
        ahead = share + self.tick_env_steps > self.env_steps_due(train_steps) + slack
        return not ahead and share < self.schedule.env_steps

    def may_train(self, *, env_steps: int, train_steps: int) -> bool:
        """Whether the learner may take another step."""
        return train_steps < self.schedule.total_train_steps and env_steps >= self.env_steps_due(train_steps)

    def learning_started(self, env_steps: int) -> bool:
        return env_steps >= self.schedule.head_start_env_steps
