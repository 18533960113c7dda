"""A tiny run for the reanalyzer's tests: made-up lanes, a real network of a few dozen units, random weights."""

import dataclasses
from types import SimpleNamespace

import torch

from speedyzero.config import (
    ActorConfig,
    CodecConfig,
    Config,
    EnvConfig,
    LearnerConfig,
    ModelConfig,
    ReplayConfig,
    ScheduleConfig,
    SearchConfig,
    TargetConfig,
)
from speedyzero.model.agent import Agent
from speedyzero.model.build import build_network
from speedyzero.model.flat import flatten
from speedyzero.nodes.share import WHOLE, Share
from speedyzero.reanalyze.reanalyzer import Reanalyzer
from speedyzero.replay.shard import Shard, shard_shape
from speedyzero.runtime.local_edges import InlineEdges
from speedyzero.topology.edges import ReanalyzerEdges
from speedyzero.topology.pacing import Pacing
from speedyzero.topology.records import WeightsRecord
from tests.replay.episodes import NUM_ACTIONS, SPEC, Lane, tick

STACK = 2
_CODEC = CodecConfig(limit=4.0, step=0.5)
CONFIG = Config(
    seed=3,
    env=EnvConfig(stack=STACK),
    model=ModelConfig(
        mlp_hidden=16, mlp_latent=8, head_hidden=8, lstm_hidden=8, projector_hidden=8, projector_out=8,
        predictor_hidden=4, value_codec=_CODEC, prefix_codec=_CODEC,
    ),
    search=SearchConfig(num_simulations=6, discount=0.9, prefix_horizon=2),
    actor=ActorConfig(envs=2),
    replay=ReplayConfig(capacity_steps=80),
    target=TargetConfig(unroll_steps=3, td_steps=2, td_decay_fraction=0.0, interval_samples=48),
    learner=LearnerConfig(batch_size=12),
    schedule=ScheduleConfig(env_steps=400, train_steps=100, frozen_train_steps=0, head_start_env_steps=40),
)  # fmt: skip


def changed(config: Config = CONFIG, **stages: dict) -> Config:
    """`changed(search={"num_simulations": 3})`: a copy with fields of its stages replaced."""
    return dataclasses.replace(
        config, **{name: dataclasses.replace(getattr(config, name), **fields) for name, fields in stages.items()}
    )


def random_weights(config: Config, seed: int) -> torch.Tensor:
    """Flat weights that say something of every position: the output layers too, which begin at zero."""
    network = build_network(config, SPEC, NUM_ACTIONS)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0.0, 0.5, generator=generator)
    return flatten(network)


class WatchedAgent(Agent):
    """Remembers which positions it was asked about. A frame names its place, so the stacks tell."""

    def __init__(self, config: Config):
        super().__init__(config, SPEC, NUM_ACTIONS)
        self.seen: list[tuple[int, int]] = []  # root inferences, (lane, row)
        self.searched: list[tuple[int, int]] = []
        self.largest_batch = 0

    def root_from(self, observation):
        newest = observation[:, -SPEC.shape[0] :]
        self._asked = [(int(lane), round(float(row) * 16)) for lane, row, *_ in newest]
        self.seen += self._asked
        self.largest_batch = max(self.largest_batch, len(observation))
        return super().root_from(observation)

    def search_from(self, root, **options):
        self.searched += self._asked
        return super().search_from(root, **options)


def loaded_agent(config: Config, *, weights_seed: int = 1, version: int = 0) -> WatchedAgent:
    agent = WatchedAgent(config)
    agent.load(random_weights(config, weights_seed), version=version)
    return agent


def no_agent() -> SimpleNamespace:
    """In the place of an agent that is never asked."""
    where = {"device": torch.device("cpu"), "input_dtype": torch.float32, "pad_channels_to": 1}
    return SimpleNamespace(version=-1, num_actions=NUM_ACTIONS, **where)


class Machine:
    """A reanalyzer between hand-made edges. The weights of version v are `random_weights(config, v)`."""

    def __init__(
        self,
        config: Config,
        lanes: list[Lane],
        *,
        ticks: int,
        edges: InlineEdges | None = None,
        following: WatchedAgent | None = None,
        share: Share = WHOLE,
    ):
        """following: searches ahead for the next target network."""
        assert len(lanes) == config.actor.envs
        self.config, self.lanes = config, lanes
        self.edges = edges or InlineEdges()
        self.agent, self.following = WatchedAgent(config), following
        pacing = Pacing(config.schedule, tick_env_steps=len(lanes))
        shard = Shard(shard_shape(config, SPEC, NUM_ACTIONS))
        ends = self.edges.of(ReanalyzerEdges)
        self.reanalyzer = Reanalyzer(config, ends, pacing, self.agent, shard, following=following, share=share)
        self.publish(0)
        self.play(ticks)

    @property
    def shard(self):
        return self.reanalyzer.shard

    @property
    def sampler(self):
        return self.reanalyzer.sampler

    def publish(self, version: int) -> None:
        self.edges.targets.publish(WeightsRecord(version, random_weights(self.config, version)))

    def play(self, ticks: int) -> None:
        for _ in range(ticks):
            row = int(self.shard.head[0])
            self.edges.steps.put(tick(self.lanes, row))
            self.edges.board.env_steps += sum(not lane.rows[row].last for lane in self.lanes)
            self.reanalyzer._take_steps()

    def batch(self):
        """The next batch that the reanalyzer offers."""
        assert self.reanalyzer.step()
        return self.edges.batches.get()
