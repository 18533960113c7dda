"""The complete state of an inline run, as the role states of a checkpoint.

    learner    network, optimiser, published weights, counters          `learner/state.py`
    replay_0   log position, priorities, draws, memo, sweep             `reanalyze/reanalyzer.py`
    actor_0    frame stacks, flags, scores, ticks                       `actor/actor.py`
    env_0      seed, and a tape of each lane's unfinished game          `env/taped.py`
    edges      records in flight

A process run saves the first two; a resume without the others starts new games.
"""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from speedyzero.runtime.local_edges import InlineEdges
from speedyzero.topology.edges import QUEUES
from speedyzero.topology.role_state import RoleState

ACTOR_PART, ENV_PART, EDGES_PART = "actor_0", "env_0", "edges"


def edges_part(edges: InlineEdges) -> RoleState:
    """Records in flight between two turns."""
    document: dict[str, list[dict[str, int]]] = {}
    tensors: dict[str, np.ndarray] = {}
    for edge in QUEUES:
        document[edge.name] = []
        for number, record in enumerate(getattr(edges, edge.name).waiting):
            values = vars(record)
            document[edge.name].append({key: int(value) for key, value in values.items() if not _is_array(value)})
            tensors |= {f"{edge.name}/{number}/{key}": value for key, value in values.items() if _is_array(value)}
    return RoleState(document, tensors)


def restore_edges(edges: InlineEdges, part: RoleState) -> None:
    """Put saved records into new edges. Raises ValueError if a record is incomplete."""
    for edge in QUEUES:
        for number, numbers in enumerate(part.document[edge.name]):
            arrays = {
                field.name: part.array(f"{edge.name}/{number}/{field.name}")
                for field in fields(edge.record)
                if field.name not in numbers
            }
            getattr(edges, edge.name).put(edge.record(**numbers, **arrays))


def _is_array(value: object) -> bool:
    return isinstance(value, np.ndarray)
