"""The complete state of an inline run, as the role states of a checkpoint.

    learner    network, optimiser, published weights, counters          `learner/state.py`
    replay_0   log position, priorities, draws, memo, sweep             `reanalyze/reanalyzer.py`
    actor_0    frame stacks, flags, scores, ticks                       `actor/actor.py`
    env_0      seed, and a tape of each lane's unfinished game          `env/taped.py`
    edges      batches and priorities in flight

A process run saves the first two; a resume without the others starts new games.
"""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from speedyzero.runtime.local_edges import InlineEdges, MemoryQueue
from speedyzero.topology.records import BatchRecord, PriorityRecord
from speedyzero.topology.role_state import RoleState

ACTOR_PART, ENV_PART, EDGES_PART = "actor_0", "env_0", "edges"
_KINDS = {"batches": BatchRecord, "priorities": PriorityRecord}


def edges_part(edges: InlineEdges) -> RoleState:
    """Batches and priorities in flight between two turns."""
    assert edges.steps.empty, "the reanalyzer consumes every step in the turn that made it"
    document: dict[str, list[dict[str, int]]] = {}
    tensors: dict[str, np.ndarray] = {}
    for name, queue in _queues(edges).items():
        document[name] = []
        for number, record in enumerate(queue.waiting):
            values = vars(record)
            document[name].append({key: int(value) for key, value in values.items() if not _is_array(value)})
            tensors |= {f"{name}/{number}/{key}": value for key, value in values.items() if _is_array(value)}
    return RoleState(document, tensors)


def restore_edges(edges: InlineEdges, part: RoleState) -> None:
    """Put saved records into new edges. Raises ValueError if a record is incomplete."""
    for name, queue in _queues(edges).items():
        for number, numbers in enumerate(part.document[name]):
            kind = _KINDS[name]
            arrays = {
                field.name: part.array(f"{name}/{number}/{field.name}")
                for field in fields(kind)
                if field.name not in numbers
            }
            queue.put(kind(**numbers, **arrays))


def _queues(edges: InlineEdges) -> dict[str, MemoryQueue]:
    return {"batches": edges.batches, "priorities": edges.priorities}


def _is_array(value: object) -> bool:
    return isinstance(value, np.ndarray)
