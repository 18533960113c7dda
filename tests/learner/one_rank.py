"""One rank of a group of two, as a process: `python -m tests.learner.one_rank MEETING PORT RANK RESULTS.npz`.

Goes through the cases of `test_group.py`, in the same order on both ranks, and saves what each left behind: first as
ranks of one node that meet at a file, then the first case again, each alone on a node, meeting at a port's store.
"""

import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from speedyzero.learner.group import RankedLearner, joined_group
from speedyzero.model.flat import flatten
from speedyzero.nodes.launch import Launch
from speedyzero.nodes.share import Share
from speedyzero.topology.records import BatchRecord
from tests.learner.small_learner import BATCH, SmallLearner, small_batch, small_learner, without_batch_statistics
from tests.model.networks import IMAGE_SPEC, VECTOR_SPEC, tiny_network

RANKS, STEPS, SAVED = 2, 6, 2
# Every other sample is rare, so that the largest importance weight of a batch lies in rank 1's half alone.
PROBABILITY = np.array([0.3, 0.2, 0.4, 0.01])


def whole_batch(step: int) -> BatchRecord:
    return replace(small_batch(seed=step), probability=PROBABILITY)


def part(batch: BatchRecord, rank: int) -> BatchRecord:
    """A rank's rows of a batch."""
    rows = slice(rank * BATCH // RANKS, (rank + 1) * BATCH // RANKS)
    return replace(batch, **{name: value[rows] for name, value in vars(batch).items() if isinstance(value, np.ndarray)})


def train(small: SmallLearner, batches: list[BatchRecord]) -> dict[str, np.ndarray]:
    """Weights after every step, the sent priorities, the recorded losses, and which steps are to be saved."""
    weights, priorities, saved = [], [], []
    for step, batch in enumerate(batches):
        small.edges.batches.put(batch)
        small.learner.asks_to_save = step == SAVED and small.learner.group.rank == 0
        assert small.learner.step()
        saved.append(small.learner.is_to_save)
        weights.append(flatten(small.network).numpy())
        if not small.edges.priorities.empty:
            priorities.append(small.edges.priorities.get().priority)
    losses = [record.value for record in small.edges.metrics.drain() if record.name == "learner/loss"]
    return {
        "weights": np.stack(weights),
        "priorities": np.array(priorities),
        "losses": np.array(losses),
        "saved": np.array(saved),
    }


def vectors(group: RankedLearner | None, rank: int | None) -> dict[str, np.ndarray]:
    """Without statistics over the batch two ranks must do what one does. The ranks' networks begin differently."""
    torch.manual_seed(rank or 0)
    small = without_batch_statistics(
        small_learner(VECTOR_SPEC, network=tiny_network(VECTOR_SPEC, seed=rank or 0), group=group)
    )
    batches = [whole_batch(step) for step in range(STEPS)]
    return train(small, batches if rank is None else [part(batch, rank) for batch in batches])


def late_outcomes(group: RankedLearner, rank: int) -> dict[str, np.ndarray]:
    """The same as `vectors`, with what a step found read during the next one: a last call without a batch."""
    torch.manual_seed(rank)
    network = tiny_network(VECTOR_SPEC, seed=rank)
    small = without_batch_statistics(small_learner(VECTOR_SPEC, network=network, group=group, deferred=True))
    found = train(small, [part(whole_batch(step), rank) for step in range(STEPS)])
    assert small.learner.step() and not small.learner.step()
    last = small.edges.priorities.get().priority
    return found | {"priorities": np.concatenate([found["priorities"], last[None]])}


def images(group: RankedLearner, rank: int) -> dict[str, np.ndarray]:
    """Batch norm: each rank has its own statistics until weights are published."""
    small = small_learner(IMAGE_SPEC, group=group)
    found = train(small, [part(whole_batch(0), rank)])  # nothing is published after one step
    found["own_statistics"] = statistics(small)
    small.learner.group.average_buffers()
    return found | {"statistics": statistics(small)}


def statistics(small: SmallLearner) -> np.ndarray:
    return np.concatenate([b.flatten().numpy() for b in small.network.buffers() if b.is_floating_point()])


def one_bad_part(group: RankedLearner, rank: int) -> dict[str, np.ndarray]:
    """Rank 1's targets are spoiled in the second step."""
    small = small_learner(VECTOR_SPEC, group=group)
    batches = [part(whole_batch(step), rank) for step in range(3)]
    if rank == 1:
        target = batches[1].value_target.copy()
        target[1, 0] = math.nan
        batches[1] = replace(batches[1], value_target=target)
    return train(small, batches)


def one_leaves(group: RankedLearner, rank: int) -> dict[str, np.ndarray]:
    """Rank 0 is asked to stop while rank 1 has a batch."""
    small = small_learner(VECTOR_SPEC, group=group)
    before = flatten(small.network).numpy()
    if rank == 0:
        small.learner.leave()
    else:
        small.edges.batches.put(part(whole_batch(0), rank))
        assert not small.learner.step()
    small.learner.leave()  # again: no more to be said
    assert small.learner.has_left and small.learner.train_step == 0
    return {"before": before, "after": flatten(small.network).numpy()}


CASES = {case.__name__: case for case in (vectors, late_outcomes, images, one_bad_part, one_leaves)}


def main() -> None:
    meeting, port, rank, results = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    torch.set_num_threads(1)
    with joined_group(rank, RANKS, meeting_file=meeting, device="cpu") as group:
        found = {f"{name}/{key}": value for name, case in CASES.items() for key, value in case(group, rank).items()}
        was_member = torch.distributed.is_initialized()
    found |= {"was_member": was_member, "is_member": torch.distributed.is_initialized(), "waited_ns": group.waited_ns}
    waits: list[bool] = []
    launch = Launch(Share(rank, RANKS), "127.0.0.1", port, "lo")
    with joined_group(0, 1, meeting_file=meeting, device="cpu", launch=launch, on_wait=waits.append) as group:
        found |= {f"nodes/{key}": value for key, value in vectors(group, rank).items()}
    np.savez(results, **found, **{"nodes/waits": waits})


if __name__ == "__main__":
    main()
