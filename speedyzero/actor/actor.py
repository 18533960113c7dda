"""The actor's step: one tick of all its environments.

Axes: E lanes, S stacked frames, A actions.
"""

from dataclasses import dataclass

import numpy as np
import torch

from speedyzero.actor.play_figures import PlayedTick, PlayFigures
from speedyzero.config import ActorConfig, Config
from speedyzero.env.base import EnvStep, LaneEnv
from speedyzero.env.frame_stack import FrameStack
from speedyzero.model.agent import Agent
from speedyzero.system import keyed_random
from speedyzero.topology.edges import WAIT_INPUT, WAIT_PACING, WAIT_SPACE, ActorEdges
from speedyzero.topology.pacing import Pacing
from speedyzero.topology.records import MetricRecord, StepRecord
from speedyzero.topology.role_state import RoleState
from speedyzero.tracing.spans import Span

_LOAD, _SEARCH, _ENVIRONMENTS = Span("load_weights"), Span("search"), Span("environments")


@dataclass(frozen=True)
class Searched:
    """The search's outputs behind a decision."""

    value: np.ndarray  # [E] float32: the network's, not the search's
    prior: np.ndarray  # [E, A] float32
    q_values: np.ndarray  # [E, A] float32
    visits: np.ndarray  # [E, A] int32


@dataclass(frozen=True)
class Decision:
    action: np.ndarray  # [E] int64
    policy: np.ndarray  # [E, A] float32
    root_value: np.ndarray  # [E] float32
    searched: Searched | None = None  # before learning starts actions are random


def temperature_at(config: ActorConfig, progress: float) -> float:
    """The visit temperature after a fraction of all train steps."""
    passed = sum(progress >= change for change in config.temperature_changes)
    return config.temperatures[passed]


def sample_visits(visits: np.ndarray, uniform: np.ndarray, *, temperature: float) -> np.ndarray:
    """Actions with odds visits^(1/T), [E] int64. visits: [E, A]; uniform: [E] in (0, 1)."""
    # Divided by the row's maximum first: 50^(1/T) overflows for a small T.
    odds = (visits / visits.max(axis=1, keepdims=True)) ** (1.0 / temperature)
    cumulative = np.cumsum(odds, axis=1)
    chosen = (cumulative <= uniform[:, None] * cumulative[:, -1:]).sum(axis=1)
    return np.minimum(chosen, visits.shape[1] - 1)


class Actor:
    """Plays E lanes. `step()` returns whether it made progress."""

    def __init__(
        self,
        config: Config,
        edges: ActorEdges,
        pacing: Pacing,
        agent: Agent,
        env: LaneEnv,
        *,
        first_lane: int = 0,
        first_tick: int = 0,
    ):
        """first_lane: the global number of this actor's lane 0. first_tick: ticks played by predecessors."""
        self._config, self._edges, self._pacing, self._agent, self._env = config, edges, pacing, agent, env
        lanes = env.num_lanes
        self._lane = np.arange(first_lane, first_lane + lanes)
        self._stack = FrameStack(lanes, config.env.stack, env.spec)
        # Predecessors began fewer games per lane than they played ticks, so no game is repeated.
        self._frame = env.reset(first_game=first_tick)
        self._first = np.ones(lanes, np.bool_)  # the current frame begins an episode or a life
        self._last = np.zeros(lanes, np.bool_)  # the current frame is a final observation
        self._score = np.zeros(lanes, np.float64)  # raw reward of the games in play
        self._figures = PlayFigures(config.search.discount)
        self._ticks = first_tick
        self.waiting_for = WAIT_PACING
        self.waited_inside_ns = 0

    def part(self) -> RoleState:
        """The checkpointable state, without environments and weights, which are the newest published."""
        tensors = {
            "stack": self._stack.frames,
            "frame": self._frame,
            "first": self._first,
            "last": self._last,
            "score": self._score,
        }
        return RoleState({"ticks": self._ticks}, tensors)

    def restore(self, part: RoleState, frame: np.ndarray) -> None:
        """Restore a state after the environments were replayed to it. frame: their current frames, [E, ...].

        Raises ValueError if those differ from the saved frames, as with another version of an emulator.
        """
        saved = part.array("frame")
        for lane in range(len(frame)):
            if not np.array_equal(frame[lane], saved[lane]):
                game = self._config.env.game
                raise ValueError(f"lane {lane} of {game} does not replay to its saved frame: another emulator version?")
        self._frame, self._ticks = frame, part.document["ticks"]
        self._stack.frames[:] = part.array("stack")
        self._first, self._last = part.array("first").copy(), part.array("last").copy()
        self._score = part.array("score").copy()

    @property
    def weights_version(self) -> int:
        return self._agent.version

    def step(self) -> bool:
        board = self._edges.board
        if self._edges.steps.full:
            self.waiting_for = WAIT_SPACE
            return False
        if not self._pacing.may_play(env_steps=board.own_env_steps, train_steps=board.train_steps):
            self.waiting_for = WAIT_PACING
            return False
        record = self._edges.weights.newer_than(self._agent.version)
        if record is not None:
            with _LOAD:
                self._agent.load(record.flat, version=record.version)
        if self._agent.version < 0 and self._pacing.learning_started(board.env_steps):
            # The learner of a resumed run has not published yet; untrained weights must not play.
            self.waiting_for = WAIT_INPUT
            return False
        decision = self._decide(self._stack.push(self._frame, self._first))
        with _ENVIRONMENTS:
            outcome = self._env.step(decision.action)
        self._edges.steps.put(self._row(decision, outcome))
        board.add_env_steps(int((~self._last).sum()))
        self._keep_scores(outcome)
        self._keep_figures(decision, outcome)
        self._frame = outcome.frame
        self._first = outcome.started | outcome.life_lost
        self._last = outcome.game_over | outcome.truncated
        self._ticks += 1
        return True

    def _decide(self, stacked: np.ndarray) -> Decision:
        lanes, actions, seed = len(self._lane), self._env.num_actions, self._config.seed
        choice_keys = keyed_random.keys(seed, keyed_random.ACT_CHOICE, self._lane, self._ticks)
        uniform = keyed_random.uniform(choice_keys, 1)[:, 0]
        if not self._pacing.learning_started(self._edges.board.env_steps):
            # No search: the network is untrained, and every root value is 0.
            return Decision(
                action=(uniform * actions).astype(np.int64),
                policy=np.full((lanes, actions), 1.0 / actions, np.float32),
                root_value=np.zeros(lanes, np.float32),
            )
        search = self._config.search
        noise_keys = keyed_random.keys(seed, keyed_random.ACT_NOISE, self._lane, self._ticks)
        noise = keyed_random.root_noise(
            noise_keys, actions, algorithm=search.algorithm, alpha=search.root_dirichlet_alpha
        )
        tie_seed = keyed_random.seed_for(seed, keyed_random.ACT_NOISE, -1 - int(self._lane[0]), self._ticks)
        with _SEARCH:
            root = self._agent.root(stacked)
            result = self._agent.search_from(root, noise=noise, tie_seed=tie_seed)
        if search.algorithm == "gumbel":
            action = result.action.cpu().numpy()
        else:
            progress = self._edges.board.train_steps / self._config.schedule.total_train_steps
            temperature = temperature_at(self._config.actor, progress)
            action = sample_visits(result.visits.cpu().numpy(), uniform, temperature=temperature)
        searched = Searched(
            value=root.value.cpu().numpy(),
            prior=torch.softmax(root.policy_logits, dim=-1).cpu().numpy(),
            q_values=result.q_values.cpu().numpy(),
            visits=result.visits.cpu().numpy(),
        )
        return Decision(action, result.policy.cpu().numpy(), result.value.cpu().numpy(), searched)

    def _row(self, decision: Decision, outcome: EnvStep) -> StepRecord:
        assert np.array_equal(self._last, outcome.started), "a lane starts anew exactly after a final observation"
        return StepRecord(
            frame=self._frame,
            action=np.where(self._last, 0, decision.action).astype(np.int16),
            reward=outcome.reward,
            raw_reward=outcome.raw_reward,
            first=self._first,
            terminal=outcome.game_over | outcome.life_lost,
            truncated=outcome.truncated,
            last=self._last,
            root_value=decision.root_value,
            visit_policy=decision.policy,
            actor_version=np.full(len(self._lane), self._agent.version, np.int64),
        )

    def _keep_figures(self, decision: Decision, outcome: EnvStep) -> None:
        """Report metrics once a window is complete. `_last` is still that of the frame acted on."""
        if decision.searched is None:
            return
        figures = self._figures.add(
            PlayedTick(
                **vars(decision.searched),
                policy=decision.policy,
                reward=outcome.reward,
                is_position=~self._last,
                ended=outcome.game_over | outcome.life_lost,
                cut=outcome.truncated,
            )
        )
        for name, value in figures.items():
            self._edges.metrics.put(MetricRecord(name, self._edges.board.train_steps, value))

    def _keep_scores(self, outcome: EnvStep) -> None:
        """Report the raw score of every game that ended."""
        self._score += outcome.raw_reward
        for lane in np.nonzero(outcome.game_over | outcome.truncated)[0]:
            self._edges.metrics.put(
                MetricRecord("actor/game_score", self._edges.board.train_steps, float(self._score[lane]))
            )
            self._score[lane] = 0.0
