"""How far a root's value by running statistics, which every bootstrap and search is, lies from the one that is trained.

EfficientZero's network, small, on Breakout, 200 updates, three ways to keep the prediction's running statistics: of the
unrolled states alone, of the target views' states too (as EfficientZero's code), and batch renormalization.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from unittest import mock

import numpy as np
import torch

from benchmarks.common import write_result
from speedyzero.arguments.resolve import resolve
from speedyzero.learner import batch_loss
from speedyzero.learner.unroll import TargetViews, target_views
from speedyzero.model.base import Network
from speedyzero.model.codec import ScalarCodec
from speedyzero.model.observation import to_network_input
from speedyzero.supervisor.inline import InlineRun, build_run

UPDATES, POSITIONS = 200, 1024
ARMS = {
    "batch norm, views left out": "batch",
    "batch norm, views seen": "batch",
    "batch renormalization, views seen": "renorm",
}


def _unseen(network: Network, observations: list[torch.Tensor]) -> TargetViews:
    return replace(target_views(network, observations), latents=[])


def measure_norms(seeds: Sequence[int]) -> None:
    results: dict[str, list[dict[str, float]]] = {}
    for arm, norm in ARMS.items():
        look = _unseen if "left out" in arm else target_views
        with mock.patch.object(batch_loss, "target_views", look):
            results[arm] = [_figures(_run(norm, seed)) for seed in seeds]
        one = {name: [round(found[name], 3) for found in results[arm]] for name in results[arm][0]}
        print(f"{arm:36} root value trained {one['trained']}, by running statistics {one['running']}, "
              f"rms difference {one['difference']}, correlation {one['correlation']}", flush=True)  # fmt: skip
    path = write_result("bench_techniques", {"scene": "breakout", "norms": results}, packages=("torch", "numpy"))
    print(f"raw in {path}")


def _run(norm: str, seed: int) -> InlineRun:
    settings = [
        "model.network=efficientzero", f"model.norm={norm}", "env.image_size_px=48", "checkpoint.keep_last=0",
        "learner.consistency_steps=0", "learner.consistency_every=1", "learner.batch_size=128",
    ]  # fmt: skip
    run = build_run(resolve("laptop", "Breakout", seed, 0, "", settings))
    while run.edges.board.train_steps < UPDATES:
        run.turn()
    return run


@torch.no_grad()
def _figures(run: InlineRun) -> dict[str, float]:
    """Mean root values of the same positions in training mode and in evaluation mode, weights as they are."""
    network, shard = run.learner.network, run.reanalyzer.shard
    sample = run.reanalyzer.sampler.draw(POSITIONS)
    stacks = torch.from_numpy(shard.gather_stacks(sample.lane, sample.step))
    codec = ScalarCodec(run.config.model.value_codec)
    values = {}
    for mode in (False, True):  # evaluation first: training mode moves the statistics
        network.train(mode)
        logits = network.predict(network.represent(to_network_input(stacks))).value_logits
        values[mode] = codec.decode(logits).numpy()
    run.close()
    running, trained = values[False], values[True]
    return {
        "trained": float(np.abs(trained).mean()),
        "running": float(np.abs(running).mean()),
        "difference": float(np.sqrt(np.mean((running - trained) ** 2))),
        "correlation": float(np.corrcoef(running, trained)[0, 1]),
    }
