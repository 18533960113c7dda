"""A learner on a shard that was filled by hand, with what it publishes kept."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from speedyzero.config import Config, LearnerConfig, ReplayConfig, ScheduleConfig, SearchConfig, TargetConfig
from speedyzero.env.base import ObservationSpec
from speedyzero.learner.augment import Augment
from speedyzero.learner.group import LoneLearner
from speedyzero.learner.learner import Learner
from speedyzero.model.base import Network
from speedyzero.replay.shard import Shard, ShardShape
from speedyzero.runtime.local_edges import InlineEdges, MemoryWeights
from speedyzero.topology.edges import TARGETS, WEIGHTS, LearnerEdges
from speedyzero.topology.pacing import Pacing
from speedyzero.topology.records import BatchRecord, WeightsRecord
from tests.model.networks import NUM_ACTIONS, tiny_config, tiny_network
from tests.replay.episodes import blank_step

LANES, ROWS, UNROLL, BATCH = 2, 40, 3, 4
FIRST_STEPS = (0, 9, 20)  # of both lanes: where an episode begins


class KeptWeights(MemoryWeights):
    """Weight slots that forget nothing."""

    def __init__(self, edge):
        super().__init__(edge)
        self.published: list[WeightsRecord] = []

    def publish(self, record: WeightsRecord) -> None:
        super().publish(record)
        self.published.append(record)


@dataclass(frozen=True)
class SmallLearner:
    learner: Learner
    config: Config
    edges: InlineEdges
    shard: Shard

    @property
    def network(self) -> Network:
        return self.learner.network


def without_batch_statistics(small: SmallLearner) -> SmallLearner:
    """The same with the projector's batch norm in evaluation mode: each sample's loss is its own, as an oracle's."""
    small.network.projector.eval()
    small.network.predictor.eval()
    return small


def small_config(**stages) -> Config:
    """Batches of 4, K = 3, targets every 3 steps, weights every 2; no augmentation."""
    base = tiny_config(
        search=SearchConfig(prefix_horizon=2),
        target=TargetConfig(unroll_steps=UNROLL, td_steps=2, interval_samples=3 * BATCH),
        learner=LearnerConfig(batch_size=BATCH, shift_px=0, intensity_scale=0.0, publish_interval_samples=2 * BATCH),
        replay=ReplayConfig(beta_start=0.4, beta_end=1.0),
        schedule=ScheduleConfig(env_steps=100, train_steps=40, frozen_train_steps=10, head_start_env_steps=20),
    )
    return replace(base, **stages)


def small_learner(
    spec: ObservationSpec,
    *,
    network: Network | None = None,
    group: LoneLearner | None = None,
    deferred: bool | None = None,
    **stages,
) -> SmallLearner:
    config = small_config(**stages)
    edges = InlineEdges(weights=KeptWeights(WEIGHTS), targets=KeptWeights(TARGETS))
    shard = filled_shard(spec, stack=config.env.stack)
    network = network or tiny_network(spec, prefix_horizon=config.search.prefix_horizon)
    pacing = Pacing(config.schedule, tick_env_steps=LANES)
    learner = Learner(config, edges.of(LearnerEdges), pacing, network, [shard], group=group, deferred=deferred)
    edges.board.env_steps = config.schedule.env_steps
    return SmallLearner(learner, config, edges, shard)


def filled_shard(spec: ObservationSpec, *, stack: int) -> Shard:
    """30 rows a lane. Images: every pixel of row t is t in lane 0, 100 + t in lane 1; vectors: random."""
    shard = Shard(
        ShardShape(lanes=LANES, rows=ROWS, spec=spec, num_actions=NUM_ACTIONS, stack=stack, lookahead=UNROLL + 2)
    )
    rng = np.random.default_rng(0)
    for t in range(30):
        frame = rng.normal(size=(LANES, *spec.shape)).astype(np.float32)
        if spec.is_image:
            frame = np.stack([np.full(spec.shape, 100 * lane + t, np.uint8) for lane in range(LANES)])
        shard.append(blank_step(frame, num_actions=NUM_ACTIONS, first=np.full(LANES, t in FIRST_STEPS)))
    return shard


def small_batch(*, seed: int = 0) -> BatchRecord:
    """Four samples; the second ends after one action, the third after two."""
    rng = np.random.default_rng(seed)
    policy = rng.dirichlet(np.ones(NUM_ACTIONS), size=(BATCH, UNROLL + 1)).astype(np.float32)
    mask = np.ones((BATCH, UNROLL), np.float32)
    mask[1, 1:] = mask[2, 2:] = 0.0
    policy[1, 1:] = policy[2, 2:] = 0.0
    return BatchRecord(
        lane=np.array([0, 1, 0, 1]),
        step=np.array([5, 9, 10, 20]),
        probability=np.array([0.1, 0.05, 0.02, 0.2]),
        action=rng.integers(NUM_ACTIONS, size=(BATCH, UNROLL)),
        action_mask=mask,
        value_target=rng.normal(size=(BATCH, UNROLL + 1)).astype(np.float32),
        prefix_target=rng.normal(size=(BATCH, UNROLL)).astype(np.float32),
        policy_target=policy,
        target_version=0,
        made_at=0,
    )


def spoiled(batch: BatchRecord, number: float) -> BatchRecord:
    """The same batch with one value target replaced."""
    value_target = batch.value_target.copy()
    value_target[2, 1] = number
    return replace(batch, value_target=value_target)


def snapshot(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """A copy of every parameter and buffer, counters too."""
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def draw_there(patch: pytest.MonkeyPatch) -> None:
    """Augmentation is drawn by the kernel's definition, as on a GPU."""

    def draw(self, batch, *, train_step, view, device):
        return self._draw_there(batch, train_step, view, device)

    patch.setattr(Augment, "draw", draw)
