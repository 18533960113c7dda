"""Predicts a run's pace and bottleneck from operation counts and costs.

Every train step keeps some resources busy: each GPU (processes that share one take turns), and the host's cores, shared
by all processes, at most one core per process. All overlap, except for a learner's wait for its group, so a train step
takes as long as its busiest resource. Not modelled: kernels that do not fill the chip, caches, shared memory bandwidth,
evaluation, start-up.

A run is computed in pieces, since the memo's searches depend on the growing replay.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from speedyzero.config import Config
from speedyzero.config.placement import Placement, place
from speedyzero.plan.costs import Costs
from speedyzero.plan.workload import Workload, workload_at

PIECES = 40


@dataclass(frozen=True)
class Pace:
    """Busy seconds of each resource per train step, by the resource's name."""

    busy_s: Mapping[str, float]

    @property
    def bottleneck(self) -> str:
        return max(self.busy_s, key=lambda name: self.busy_s[name])

    @property
    def train_step_s(self) -> float:
        return max(self.busy_s.values())


@dataclass(frozen=True)
class Prediction:
    """A whole run, without evaluations."""

    head_start_s: float
    paced_s: float
    frozen_s: float
    typical: Pace  # in the middle of the paced part
    workload: Workload  # of that moment
    limits: Mapping[str, float]  # share of the paced time that each bottleneck sets the pace

    @property
    def total_s(self) -> float:
        return self.head_start_s + self.paced_s + self.frozen_s


def predict(config: Config, costs: Costs, *, cores: int) -> Prediction:
    """cores: available to the run."""
    schedule, placement = config.schedule, place(config)
    head, played = schedule.head_start_env_steps, schedule.env_steps - schedule.head_start_env_steps
    limits: dict[str, float] = {}
    paced_s = 0.0
    for piece in range(PIECES):
        env_steps = head + played * (piece + 0.5) / PIECES
        pace = pace_of(workload_at(config, env_steps), costs, placement, cores=cores)
        piece_s = pace.train_step_s * schedule.train_steps / PIECES
        limits[pace.bottleneck] = limits.get(pace.bottleneck, 0.0) + piece_s
        paced_s += piece_s
    frozen = pace_of(workload_at(config, schedule.env_steps, is_frozen=True), costs, placement, cores=cores)
    middle = workload_at(config, head + played / 2)
    return Prediction(
        head_start_s=head * costs.host_env_step_s / min(cores, len(placement.actors)),
        paced_s=paced_s,
        frozen_s=frozen.train_step_s * schedule.frozen_train_steps,
        typical=pace_of(middle, costs, placement, cores=cores),
        workload=middle,
        limits={name: seconds / paced_s for name, seconds in limits.items()},
    )


def pace_of(work: Workload, costs: Costs, placement: Placement, *, cores: int) -> Pace:
    """How long each resource is busy with one train step."""
    actors, shards, learners = len(placement.actors), len(placement.shards), len(placement.learners)
    tick_s = max(costs.search_call_s, work.lanes_of_actor * costs.search_s)
    actor_s = work.env_steps / (actors * work.lanes_of_actor) * tick_s
    searches_s = max(costs.search_call_s if work.searches else 0.0, work.searches / shards * costs.search_s)
    reanalyzer_s = searches_s + (work.values * costs.value_s + work.refreshes * costs.refresh_s) / shards
    learner_s = max(costs.train_step_s, work.samples / learners * costs.sample_s)
    learner_s += costs.sync_s if learners > 1 else 0.0
    env_s, batch_s = work.env_steps * costs.host_env_step_s, costs.host_batch_s
    on_device = [
        *((device, actor_s) for device in placement.actors),
        *((device, reanalyzer_s) for device in placement.shards),
        *((device, learner_s) for device in placement.learners),
    ]
    busy: dict[str, float] = {}
    for device, seconds in on_device:
        if device != "cpu":
            busy[device] = busy.get(device, 0.0) + seconds
    host_s = env_s + batch_s + sum(seconds for device, seconds in on_device if device == "cpu")
    busy[f"{cores} cores"] = host_s / cores
    # A process uses at most one core, and its host work and device work do not overlap.
    busy["an actor"] = actor_s + env_s / actors
    busy["a reanalyzer"] = reanalyzer_s + batch_s / shards
    busy["a learner"] = learner_s + costs.nodes_s  # its GPU is free while it waits for the network
    return Pace(busy)
