"""The edges of one run as picklable specifications: its processes, rings, weight slots, shards and board.

The supervisor makes a `Wiring`, every process attaches its own ends (`shared_edges.py`). Counters and heartbeats are on
the board, frames in the shard's arrays. Names of rings: `steps.actor-0`, `batches.0-1` and `priorities.0-1` (shard 0,
learner 1), `metrics.PROCESS`, `spans.PROCESS`. Which shard feeds which learner: `placement.py`. An inline run uses
plain memory (`local_edges.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from speedyzero.config import Config
from speedyzero.config.placement import Placement, place
from speedyzero.env.base import ObservationSpec
from speedyzero.model.build import build_network
from speedyzero.model.flat import acting_tensors
from speedyzero.replay.shard import ShardShape, shard_shape
from speedyzero.shm import BoardSpec, Field, RecordLayout, RingSpec, Run, SharedArraysSpec, WeightSlotsSpec
from speedyzero.topology.edges import (
    METRICS,
    QUEUES,
    SLOTS,
    SPANS,
    WAIT_GROUP,
    WAIT_INPUT,
    WAIT_PACING,
    WAIT_SPACE,
    WAITS,
    WEIGHTS,
    Edge,
)
from speedyzero.topology.records import METRIC_NAME_BYTES, SPAN_FIELDS, SPANS_PER_BLOCK

SUPERVISOR = "supervisor"
WaitsOn = dict[str, dict[str, list[str]]]
"""By process and wait (one of edges.WAITS without its unit): the processes whose work ends that wait."""


def actor_name(index: int) -> str:
    return f"actor-{index}"


def reanalyzer_name(shard: int) -> str:
    return f"reanalyzer-{shard}"


def learner_name(rank: int) -> str:
    return f"learner-{rank}"


REANALYZER, LEARNER = reanalyzer_name(0), learner_name(0)  # LEARNER counts the train steps

# *_cpu_ns: processor time while busy, while waiting. weights_version: that the role acts with, or has made.
# snapshot_step: copied by the learner; saved_step, unsaved_step: whose files this process has written, or failed to
# write; restored: 1 once a shard is. checkpoint_step, unscored_step: whose weights
# for scoring were written, or could not be. rounds: of the role's loop, waits included; they stop if it is stuck.
# awaits_group: 1 while a learner waits for the others to join or to agree (`learner/group.py`).
# profiling: whether spans are wanted (`run_profile.py`); in other rows, what is acknowledged. dropped_spans: lost.
COUNTERS = (
    *"env_steps train_steps rounds busy_ns".split(),
    *WAITS,
    *"busy_cpu_ns wait_cpu_ns weights_version checkpoint_step snapshot_step saved_step unsaved_step".split(),
    *"unscored_step restored awaits_group restarts profiling dropped_spans".split(),
)


@dataclass(frozen=True)
class Wiring:
    """One run's edges. Processes: the supervisor, actors, reanalyzers (one per shard), learners (one per rank)."""

    run: Run
    placement: Placement
    board: BoardSpec
    queues: Mapping[str, tuple[RingSpec, ...]]
    """By edge. steps: one per actor; batches, priorities: one per feed of the placement; metrics, spans: one per
    process but the supervisor, in the board's order (spans: none if the run is not profiled)."""
    slots: Mapping[str, WeightSlotsSpec]  # by edge
    shards: tuple[SharedArraysSpec, ...]
    shard_shape: ShardShape  # of every shard

    @property
    def processes(self) -> tuple[str, ...]:
        """All but the supervisor."""
        return self.board.rows[1:]

    @property
    def devices(self) -> dict[str, str]:
        """By process."""
        place = self.placement
        return dict(zip(self.processes, (*place.actors, *place.shards, *place.learners), strict=True))

    @property
    def rings(self) -> tuple[RingSpec, ...]:
        return tuple(ring for rings in self.queues.values() for ring in rings)

    @property
    def weight_bytes(self) -> int:
        """Of one set of the acting network's weights."""
        return self.slots[WEIGHTS.name].size_bytes

    @property
    def total_bytes(self) -> int:
        """Shared memory of the whole run."""
        return self.board.total_bytes + sum(size for _, size in self.sizes)

    @property
    def sizes(self) -> tuple[tuple[str, int], ...]:
        """Name and bytes of everything shared but the board."""
        rings = [(ring.name, ring.total_bytes) for ring in self.rings]
        slots = [(slots.name, slots.total_bytes) for slots in self.slots.values()]
        return (*rings, *slots, *((shard.name, shard.total_bytes) for shard in self.shards))

    def produced_by(self, process: str, edge: str) -> list[RingSpec]:
        return [ring for ring in self.queues[edge] if ring.producer_bell == bell_of(process)]

    def consumed_by(self, process: str, edge: str) -> list[RingSpec]:
        return [ring for ring in self.queues[edge] if ring.consumer_bell == bell_of(process)]


def bell_of(process: str) -> str:
    """The one doorbell that a process waits on."""
    return f"bell.{process}"


def wire(config: Config, run: Run, spec: ObservationSpec, num_actions: int, *, profiled: bool = False) -> Wiring:
    """The edges of a run, for the placement of its settings. profiled: with rings of spans."""
    placement = place(config)
    actors = tuple(actor_name(index) for index in range(len(placement.actors)))
    reanalyzers = tuple(reanalyzer_name(shard) for shard in range(len(placement.shards)))
    processes = (*actors, *reanalyzers, *(learner_name(rank) for rank in range(len(placement.learners))))
    shape = shard_shape(config, spec, num_actions)
    arrays = tuple((name, Field(*field)) for name, field in shape.fields().items())
    with torch.device("meta"):
        network = build_network(config, spec, num_actions)
    weight_bytes = 4 * sum(tensor.numel() for tensor in acting_tensors(network).values())
    lengths = lengths_of(config, num_actions, batch=placement.part_of(config.learner.batch_size))

    feeds = [
        (f"{feed.shard}-{feed.learner}", reanalyzer_name(feed.shard), learner_name(feed.learner))
        for feed in placement.feeds
    ]
    shared_by = {  # by two roles: suffix of a ring's name, and its ends
        ("actor", "reanalyzer"): [
            (actor, actor, reanalyzers[index % len(reanalyzers)]) for index, actor in enumerate(actors)
        ],
        ("reanalyzer", "learner"): feeds,
        ("everyone", SUPERVISOR): [(process, process, SUPERVISOR) for process in processes],
    }

    def ends(edge: Edge) -> list[tuple[str, str, str]]:
        """Suffix of the name, producer and consumer of each of an edge's rings."""
        if found := shared_by.get((edge.producer, edge.consumer)):
            return found
        return [(suffix, producer, consumer) for suffix, consumer, producer in shared_by[edge.consumer, edge.producer]]

    def rings(edge: Edge) -> tuple[RingSpec, ...]:
        layout = record_layout(edge, lengths, spec)
        return tuple(
            RingSpec(
                f"{edge.name}.{suffix}",
                layout,
                edge.capacity,
                producer_bell=bell_of(producer),
                consumer_bell=bell_of(consumer),
            )
            for suffix, producer, consumer in ends(edge)
        )

    return Wiring(
        run=run,
        placement=placement,
        board=BoardSpec("board", (SUPERVISOR, *processes), counters=COUNTERS),
        queues={edge.name: rings(edge) for edge in (*QUEUES, METRICS)} | {SPANS.name: rings(SPANS) if profiled else ()},
        slots={edge.name: WeightSlotsSpec(edge.name, weight_bytes) for edge in SLOTS},
        shards=tuple(SharedArraysSpec(f"shard.{index}", arrays) for index in range(len(placement.shards))),
        shard_shape=shape,
    )


def lengths_of(config: Config, num_actions: int, *, batch: int) -> dict[str, int]:
    """The length of every named axis of a record (`records.py`). batch: samples of one feed in a train step."""
    unroll = config.target.unroll_steps
    run = {"E": config.actor.envs, "B": batch, "K": unroll, "K+1": unroll + 1, "A": num_actions}
    return run | {"L": METRIC_NAME_BYTES, "N": SPANS_PER_BLOCK, "F": SPAN_FIELDS}


def record_layout(edge: Edge, lengths: Mapping[str, int], spec: ObservationSpec) -> RecordLayout:
    """The layout of an edge's records; `frame`, if there is one, has the observation's own type and axes."""
    return RecordLayout.stored(edge.record, lengths, frame=Field(spec.dtype.str, (lengths["E"], *spec.shape)))


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
