"""Operation counts of one train step, from the settings alone.

With the memo they depend on time: with N positions in replay, a target interval requests R searches and runs those of
distinct positions, about N (1 - exp(-R / N)) under uniform sampling (fewer under priorities).
"""

import math
from dataclasses import dataclass

from speedyzero.config import Config


@dataclass(frozen=True)
class Workload:
    """Operations of one train step, over the whole machine."""

    env_steps: float  # played, each with an actor's search
    searches: float  # of reanalysis
    values: float  # root inferences of the target network, besides those within searches
    refreshes: float  # positions evaluated with the newest weights
    samples: float  # trained on
    lanes_of_actor: int  # per search call


def workload_at(config: Config, env_steps: float, *, is_frozen: bool = False) -> Workload:
    """Operations of a train step after `env_steps`. is_frozen: play has ended."""
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
        # A search also yields the network's value; a bootstrap position is td_steps later in the same lane.
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
