"""A learner's batch with its kernels in Triton's form, beside the batch from the host."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from kernels.stack_gather import augment_draws, stack_gather
from speedyzero.config import ActorConfig
from speedyzero.learner import augment
from speedyzero.learner.augment import Augment
from speedyzero.learner.batch import BatchReader
from speedyzero.model.agent import Agent
from speedyzero.reanalyze import reanalyzer
from speedyzero.reanalyze.reanalyzer import Reanalyzer
from speedyzero.replay import device_mirror
from speedyzero.replay.device_mirror import DeviceMirror
from speedyzero.replay.frames import HostFrames
from speedyzero.runtime.local_edges import InlineEdges
from speedyzero.topology.edges import ReanalyzerEdges
from speedyzero.topology.pacing import Pacing
from tests.kernels.backends import watch
from tests.learner.small_learner import UNROLL, filled_shard, small_config
from tests.learner.test_batch import AUGMENTED, noisy_shard, parts_of
from tests.model.networks import IMAGE_SPEC, NUM_ACTIONS, tiny_config


def test_one_launch_for_the_roots_and_one_for_each_state_after_them(monkeypatch, device):
    config, shard, part = small_config(learner=AUGMENTED), noisy_shard(0), parts_of(1)
    weight = np.ones(len(part[0].lane), np.float32)
    cpu = torch.device("cpu")
    host = BatchReader(config, [HostFrames(shard, cpu)], device=cpu, rank=1).read(part, weight=weight, train_step=5)

    monkeypatch.setattr(device_mirror, "stack_gather", partial(stack_gather, backend="triton"))
    monkeypatch.setattr(augment, "augment_draws", partial(augment_draws, backend="triton"))
    monkeypatch.setattr(
        Augment,
        "draw",
        lambda self, batch, *, train_step, view, device: self._draw_there(batch, train_step, view, device),
    )
    gathers = watch(monkeypatch, "kernels.stack_gather", reference="stack_gather", kernel="stack_gather_kernel")
    draws = watch(monkeypatch, "kernels.stack_gather", reference="augment_draws", kernel="augment_draws_kernel")
    reader = BatchReader(config, [DeviceMirror(shard, device)], device=device, rank=1)
    mirrored = reader.read(part, weight=weight, train_step=5)
    assert gathers == ["triton"] * (1 + UNROLL) and draws == ["triton"] * 2
    for one, other in zip((host.root, *host.following), (mirrored.root, *mirrored.following), strict=True):
        torch.testing.assert_close(other.cpu(), one, rtol=1e-6, atol=0)


def test_a_root_is_inferred_alike_from_what_a_mirror_pads(monkeypatch, device):
    """The reanalyzer asks its mirror for as many channels as the first convolution reads."""
    agent, shard = Agent(tiny_config(), IMAGE_SPEC, NUM_ACTIONS, device=str(device)), filled_shard(IMAGE_SPEC, stack=2)
    asked = {}

    def sources(config, shards, where, **how):
        asked.update(how)
        return [HostFrames(shard, where) for shard in shards]

    monkeypatch.setattr(reanalyzer, "frame_sources", sources)
    config = small_config(actor=ActorConfig(envs=2))
    edges, pacing = InlineEdges().of(ReanalyzerEdges), Pacing(config.schedule, tick_env_steps=2)
    Reanalyzer(config, edges, pacing, agent, shard)
    assert asked == {"dtype": torch.float32, "pad_channels_to": 16}
    monkeypatch.setattr(device_mirror, "stack_gather", partial(stack_gather, backend="reference"))
    lane, step = np.array([0, 1]), np.array([5, 9])
    plain, padded = (DeviceMirror(shard, device, pad_channels_to=to).stacks(lane, step) for to in (1, 16))
    assert (plain.shape[1], padded.shape[1]) == (6, 16)
    roots = [agent.root_from(observation) for observation in (plain, padded)]
    torch.testing.assert_close(roots[0].value, roots[1].value, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(roots[0].policy_logits, roots[1].policy_logits, rtol=1e-5, atol=1e-6)
