"""Queues are bounded and in order; weight slots keep the newest and no more than they should."""

import pytest
import torch

from speedyzero.runtime.local_edges import InlineEdges, MemoryQueue, MemoryWeights
from speedyzero.topology.edges import METRICS, PRIORITIES, STEPS, TARGETS, Edge
from speedyzero.topology.records import MetricRecord, WeightsRecord


def metrics(count: int) -> list[MetricRecord]:
    return [MetricRecord("some/figure", step, float(step)) for step in range(count)]


def queue(capacity: int) -> MemoryQueue[MetricRecord]:
    return MemoryQueue(Edge("cargo", "someone", "someone else", MetricRecord, capacity))


def weights(version: int) -> WeightsRecord:
    return WeightsRecord(version, torch.full((2,), float(version)))


def slots(capacity: int, *versions: int) -> MemoryWeights:
    result = MemoryWeights(Edge("weights", "learner", "actor", WeightsRecord, capacity))
    for version in versions:
        result.publish(weights(version))
    return result


@pytest.mark.parametrize("capacity", [1, 3])
def test_a_queue_is_bounded_and_in_order(capacity):
    edge, records = queue(capacity), metrics(3 * capacity)
    assert edge.empty and not edge.full
    for turn in range(3):
        part = records[turn * capacity : (turn + 1) * capacity]
        for record in part:
            assert not edge.full
            edge.put(record)
        assert edge.full and not edge.empty
        assert [edge.get() for _ in part] == part
        assert edge.empty


def test_putting_into_a_full_queue_is_a_mistake_of_the_producer():
    edge, (first, second) = queue(1), metrics(2)
    edge.put(first)
    with pytest.raises(AssertionError, match="someone must check `full`"):
        edge.put(second)
    assert edge.get() is first and edge.empty


def test_newer_weights():
    assert slots(1).newer_than(-1) is None
    assert slots(1, 0).newer_than(-1).version == 0
    assert slots(1, 0).newer_than(0) is None
    assert slots(3, 0, 5, 10).newer_than(0).version == 10  # the newest, not the next
    assert slots(3, 0, 5, 10).newer_than(10) is None


def test_weights_by_version():
    held = slots(3, 0, 200, 400)
    assert held.at(200).flat.tolist() == [200, 200]
    assert held.at(100) is None
    held.publish(weights(600))
    assert held.at(0) is None  # no longer here
    assert [held.at(version).version for version in (200, 400, 600)] == [200, 400, 600]


def test_edges_have_their_capacities():
    for edge, capacity in (
        ("steps", STEPS.capacity),
        ("batches", 1),  # by turns nothing is gained by batches made ahead
        ("priorities", PRIORITIES.capacity),
        ("metrics", METRICS.capacity),
    ):
        ring = getattr(InlineEdges(), edge)
        for _ in range(capacity):
            assert not ring.full
            ring.put(metrics(1)[0])
        assert ring.full
    # The reanalyzer follows one interval behind the newest: two would do, the third is for the moment of change.
    assert TARGETS.capacity >= 2
