"""An environment that plays made-up lanes and an agent that looks its answers up in what it is shown."""

import numpy as np
import torch

from speedyzero.actor.actor import Actor
from speedyzero.config import ActorConfig, Config, EnvConfig, ScheduleConfig, SearchConfig
from speedyzero.env.base import EnvStep
from speedyzero.runtime.local_edges import InlineEdges
from speedyzero.search import RootOutput, SearchResult
from speedyzero.topology.edges import ActorEdges
from speedyzero.topology.pacing import Pacing
from speedyzero.topology.records import StepRecord, WeightsRecord
from tests.replay.episodes import NUM_ACTIONS, SPEC, Lane, frames, visit_policy

STACK = 3
# So much slack that play never waits for learning.
FREE = ScheduleConfig(
    env_steps=100_000, train_steps=100, frozen_train_steps=0, head_start_env_steps=1, pacing_slack_env_steps=10**6
)
RANDOM_PHASE = ScheduleConfig(
    env_steps=100_000, train_steps=100, frozen_train_steps=0, head_start_env_steps=90_000, pacing_slack_env_steps=10**6
)


def config_of(*, schedule=FREE, **actor_and_search) -> Config:
    """`config_of(temperatures=(0.5,), algorithm="gumbel")`: fields of the actor and of the search."""
    actor = {name: value for name, value in actor_and_search.items() if name.startswith("temperature")}
    search = {name: value for name, value in actor_and_search.items() if name not in actor}
    return Config(
        seed=11,
        env=EnvConfig(stack=STACK),
        actor=ActorConfig(**actor),
        search=SearchConfig(**search),
        schedule=schedule,
    )


class ScriptedEnv:
    """Shows row after row of its lanes, whatever is played. Its raw rewards are ten times its rewards."""

    num_actions = NUM_ACTIONS
    spec = SPEC

    def __init__(self, lanes: list[Lane], *, first_lane: int = 0):
        self.num_lanes = len(lanes)
        self.lanes = lanes
        self.first_lane = first_lane  # what the frames call the first of them
        self.row = 0
        self.actions: list[np.ndarray] = []

    def _frame(self) -> np.ndarray:
        return frames(self.first_lane + np.arange(self.num_lanes), np.full(self.num_lanes, self.row))

    def reset(self, first_game: int = 0) -> np.ndarray:
        return self._frame()

    def step(self, action: np.ndarray) -> EnvStep:
        self.actions.append(action)
        now = [lane.rows[self.row] for lane in self.lanes]
        self.row += 1
        ended = np.array([lane.rows[self.row].last for lane in self.lanes])
        terminal = np.array([row.terminal for row in now])
        reward = np.array([row.reward for row in now], np.float32)
        return EnvStep(
            frame=self._frame(),
            reward=reward,
            raw_reward=10 * reward,
            game_over=terminal & ended,
            life_lost=terminal & ~ended,
            truncated=np.array([row.truncated for row in now]),
            started=np.array([row.last for row in now]),
        )


class LookingAgent:
    """Searches nothing: policy and value name the place of the newest frame; the visits come from a rule."""

    def __init__(self, visits_of=lambda stacked, noise: np.ones((len(stacked), NUM_ACTIONS), np.int64)):
        self.version = -1
        self.visits_of = visits_of
        self.loaded: list[tuple[int, float]] = []  # version, first weight
        self.stacks: list[np.ndarray] = []
        self.noises: list[np.ndarray] = []
        self.tie_seeds: list[int] = []

    def load(self, flat: torch.Tensor, *, version: int) -> None:
        self.version = version
        self.loaded.append((version, float(flat[0])))

    def root(self, stacked) -> RootOutput:
        return RootOutput(torch.zeros(len(stacked), NUM_ACTIONS), torch.zeros(len(stacked)), {"stacked": stacked})

    def search_from(self, root: RootOutput, *, noise, tie_seed) -> SearchResult:
        stacked = root.state["stacked"]
        self.stacks.append(stacked.copy())
        self.noises.append(noise)
        self.tie_seeds.append(tie_seed)
        lane, row = stacked[:, -1].reshape(len(stacked), -1)[:, :2].T
        row = np.round(row * 16)
        visits = torch.from_numpy(np.asarray(self.visits_of(stacked, noise)))
        return SearchResult(
            visits=visits.int(),
            policy=torch.from_numpy(visit_policy(lane, row)),
            value=torch.from_numpy((100 * lane + row).astype(np.float32)),
            q_values=torch.zeros(visits.shape),
            action=torch.from_numpy((row.astype(np.int64) + 1) % NUM_ACTIONS),
        )


class Game:
    """An actor between edges of its own. Train steps are what the test makes them."""

    def __init__(self, config: Config, env, agent: LookingAgent | None = None, *, published: bool = True, **begin):
        self.env, self.agent = env, agent or LookingAgent()
        self.edges = InlineEdges()
        if published:
            self.publish(0)
        pacing = Pacing(config.schedule, tick_env_steps=env.num_lanes)
        self.actor = Actor(config, self.edges.of(ActorEdges), pacing, self.agent, env, **begin)

    def publish(self, version: int) -> None:
        self.edges.weights.publish(WeightsRecord(version, torch.full((1,), version + 0.5)))

    def play(self, ticks: int) -> list[StepRecord]:
        records = []
        for _ in range(ticks):
            assert self.actor.step()
            records.append(self.edges.steps.get())
        return records

    def scores(self) -> list[float]:
        """Of the games reported since the last call."""
        records = list(self.edges.metrics.drain())
        assert {record.name for record in records} <= {"actor/game_score"}
        return [record.value for record in records]
