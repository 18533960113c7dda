"""How often a run does what: the operations of one train step, from its settings alone.

The memo makes this a function of time: of a replay of N positions a target interval asks for R searches, and searches
what of them is new, about N (1 - exp(-R / N)) where all are as likely (fewer by priorities: the drawn are drawn again).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from speedyzero.config import Config


@dataclass(frozen=True)
class Workload:
    """Of one train step, over the whole machine."""

    env_steps: float  # played, each with a search of the actor's
    searches: float  # of reanalysis
    values: float  # root inferences of the target network beside those that searches make
    refreshes: float  # positions judged by the newest weights
    samples: float  # trained on
    lanes_of_actor: int  # searched in one call


def workload_at(config: Config, env_steps: float, *, is_frozen: bool = False) -> Workload:
    """Operations of a train step once so many env steps are played. is_frozen: nothing is played any more."""
    schedule, target, batch = config.schedule, config.target, config.learner.batch_size
    states = target.unroll_steps + 1
    interval = config.target_interval
    positions = max(1.0, min(env_steps, config.replay.capacity_steps))
    asked_searches = config.reanalyze.policy_share * batch * states
    asked_values = batch * states
    if config.target.value == "root":
        asked_searches, asked_values = asked_searches + asked_values, 0
    if config.reanalyze.memo:
        searches = distinct(asked_searches * interval, positions) / interval
        # A search leaves the network's value behind; a bootstrap lies td_steps further in the same lanes.
        either = distinct((asked_searches + asked_values) * interval, positions) / interval
        values = max(0.0, either - searches)
    else:
        searches, values = float(asked_searches), float(asked_values)
    played = 0.0 if is_frozen else (schedule.env_steps - schedule.head_start_env_steps) / schedule.train_steps
    return Workload(
        env_steps=played,
        searches=searches,
        values=values,
        refreshes=config.refresh.per_sample * batch if config.refresh.enabled else 0.0,
        samples=float(batch),
        lanes_of_actor=config.actor.envs,
    )


def distinct(draws: float, positions: float) -> float:
    """Expected number of different positions among uniform draws with replacement."""
    return positions * -math.expm1(-draws / positions)
