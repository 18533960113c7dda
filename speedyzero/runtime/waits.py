"""Which processes each wait of a role depends on, from the wiring."""

from __future__ import annotations

from speedyzero.runtime.wiring import Wiring, actor_name, learner_name, reanalyzer_name
from speedyzero.topology.edges import WAIT_GROUP, WAIT_INPUT, WAIT_PACING, WAIT_SPACE

WaitsOn = dict[str, dict[str, list[str]]]
"""By process and wait (one of edges.WAITS without its unit): the processes whose work ends that wait."""


def role_of(process: str) -> str:
    """`actor` of `actor-1`."""
    return process.partition("-")[0]


def waits_on(wiring: Wiring) -> WaitsOn:
    """Of every process but the supervisor, which waits for none."""
    placement = wiring.placement
    actors = [actor_name(index) for index in range(len(placement.actors))]
    learners = [learner_name(rank) for rank in range(len(placement.learners))]
    found: WaitsOn = {}
    for index, actor in enumerate(actors):
        shards = [shard for shard in range(len(placement.shards)) if index in placement.actors_of(shard)]
        found[actor] = {WAIT_PACING: learners, WAIT_SPACE: [reanalyzer_name(shard) for shard in shards]}
    for shard in range(len(placement.shards)):
        found[reanalyzer_name(shard)] = {
            WAIT_SPACE: [learner_name(feed.learner) for feed in placement.feeds if feed.shard == shard],
            WAIT_INPUT: [actors[actor] for actor in placement.actors_of(shard)],
        }
    for rank, learner in enumerate(learners):
        feeding = [reanalyzer_name(feed.shard) for feed in placement.feeds if feed.learner == rank]
        found[learner] = {
            WAIT_PACING: actors,
            WAIT_SPACE: feeding,
            WAIT_INPUT: feeding,
            WAIT_GROUP: [other for other in learners if other != learner],
        }
    return {process: {wait.removesuffix("_ns"): by for wait, by in waits.items()} for process, waits in found.items()}


def in_turns() -> WaitsOn:
    """Of the roles of an inline run: none waits."""
    return {name: {} for name in (actor_name(0), reanalyzer_name(0), learner_name(0))}
