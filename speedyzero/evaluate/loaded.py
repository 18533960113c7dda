"""A trained agent for use in other programs: `speedyzero.load(DIR)`.

    agent = speedyzero.load("runs/Pong-laptop-seed0-001")        # or a checkpoint's directory, copied anywhere
    env = agent.make_env(lanes=1)
    step = env.step(agent.act(env.reset()))
    while not step.game_over[0]:
        step = env.step(agent.act(step.frame, step.started))

Axes: E lanes, ... an observation's own axes.
"""

from pathlib import Path

import numpy as np

from speedyzero.config import Config
from speedyzero.env.base import LaneEnv
from speedyzero.env.frame_stack import FrameStack
from speedyzero.env.registry import check_game, make_env
from speedyzero.evaluate.command import load_agent
from speedyzero.evaluate.evaluator import chosen_actions
from speedyzero.evaluate.source import find_source
from speedyzero.model.agent import Agent


class LoadedAgent:
    """Acts as in the run's evaluation: search without noise, the most visited or a sampled action."""

    def __init__(self, config: Config, model: Agent, *, step: int):
        """step: the train step of the weights."""
        self.config, self.model, self.step = config, model, step
        self.spec = check_game(config.env).spec
        self._stack: FrameStack | None = None
        self._ticks = 0

    def act(self, observations: np.ndarray, first: np.ndarray | None = None) -> np.ndarray:
        """The actions, [E] int64. observations: the newest frame of each lane, [E, ...], as from `make_env`.

        first: [E] bool, lanes whose games have just begun, None for no lane; ignored at the first call, where all have.
        Raises ValueError for a wrong shape or dtype, and if the number of lanes changes.
        """
        observations = np.asarray(observations)
        lanes = len(observations) if observations.ndim else 0
        if observations.shape != (lanes, *self.spec.shape) or observations.dtype != self.spec.dtype or not lanes:
            raise ValueError(
                f"observations are {observations.dtype} {list(observations.shape)}, this agent takes "
                f"{self.spec.dtype} [lanes, {', '.join(map(str, self.spec.shape))}]"
            )
        begun = np.zeros(lanes, np.bool_) if first is None else np.asarray(first, np.bool_)
        if self._stack is None:
            self._stack, begun = FrameStack(lanes, self.config.env.stack, self.spec), np.ones(lanes, np.bool_)
        if len(self._stack.frames) != lanes:
            raise ValueError(
                f"observations of {lanes} lanes, it has played {len(self._stack.frames)}: load one for each"
            )
        stacked = self._stack.push(observations, begun)
        simulations = self.config.evaluate.num_simulations
        result = self.model.search(stacked, simulations=simulations, tie_seed=self._ticks)
        how, games = self.config.evaluate.action, np.arange(lanes)
        action = chosen_actions(result, how, seed=0, episodes=games, tick=self._ticks)
        self._ticks += 1
        return action

    def make_env(self, *, lanes: int = 1, seed: int = 0, render: bool = False) -> LaneEnv:
        """The game the agent was trained on, under evaluation rules: full games."""
        return make_env(self.config.env, lanes=lanes, seed=seed, evaluation=True, render=render)


def load(directory: str | Path, *, game: str | None = None) -> LoadedAgent:
    """The agent of a run or checkpoint. game: required for your own, "my_module:MyGame-v0", whose module is imported.

    Sets torch's threads for the whole process, as training does. Raises ValueError, one line, for anything missing,
    damaged or mismatched.
    """
    source = find_source(directory, game)
    return LoadedAgent(source.config, load_agent(source.config, source.weights), step=source.weights.meta["step"])
