"""Inline runs side by side: everything that a run continues from, to the bit."""

import numpy as np

from speedyzero.checkpoint.snapshot import encode_document, encode_tensors
from speedyzero.supervisor.inline import InlineRun, snapshot_of

OF_THE_CLOCK = "seconds"  # spent so far


def advance(run: InlineRun, *, to_step: int) -> list[float]:
    """Turn after turn up to a train step; the losses told on the way."""
    losses = []
    while run.edges.board.train_steps < to_step:
        run.turn()
        losses += [record.value for record in run.edges.metrics.drain() if record.name == "learner/loss"]
    return losses


def everything(run: InlineRun) -> dict[str, bytes]:
    """All that the next turn follows from, by what it is: what a checkpoint holds, and the shard's rows themselves."""
    snapshot = snapshot_of(run)
    found = {
        f"{file}/{name}": encode_tensors({"": tensor})
        for file, group in snapshot.tensors.items()
        for name, tensor in group.items()
    }
    found |= snapshot.documents
    shard = run.reanalyzer.shard
    written = np.arange(shard.rows) < shard.head[:, None]
    for name in shard.shape.fields().keys() - {"env_steps"}:
        array = getattr(shard, name)
        found[f"shard/{name}"] = array[written].tobytes() if array.shape[:2] == written.shape else array.tobytes()
    sampler = run.reanalyzer.sampler
    found["sampler/weights"] = sampler._weights._tree.tobytes()
    found["sampler/eligible"] = sampler._eligible._tree.tobytes()
    found["sampler/retired"] = sampler._retired.tobytes()
    return found | {"replay_0.json": encode_document(_without_clock(run))}


def _without_clock(run: InlineRun) -> dict:
    document = dict(run.reanalyzer.part().document)
    if document["refresh"] is not None:
        document["refresh"] = {name: value for name, value in document["refresh"].items() if name != OF_THE_CLOCK}
    return document


def differences(one: dict[str, bytes], other: dict[str, bytes]) -> list[str]:
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
