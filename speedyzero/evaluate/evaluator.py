"""The evaluation protocol: full games, no root noise, most visited (or sampled) action, raw rewards.

Called periodically and at the end of training, and by the command line. The protocol is EfficientZero's (Ye et al.
2021): N episodes, each with its own seed, lives ignored. The seeds come from a separate random stream, so evaluation
replays no training game and does not affect training.

Axes: E lanes of one batch, one episode each; L lanes still playing; S stacked frames; A actions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np

from speedyzero.config import EnvConfig, EvaluateConfig, SearchConfig, choices
from speedyzero.env.base import LaneEnv
from speedyzero.env.frame_stack import FrameStack
from speedyzero.env.registry import action_names, check_game, make_env
from speedyzero.evaluate.human_normalised import human_normalised
from speedyzero.evaluate.overlay import Thought
from speedyzero.evaluate.result import EvaluationResult, bootstrap_ci95
from speedyzero.evaluate.video import Film
from speedyzero.observe.information import entropy
from speedyzero.observe.progress import GamesProgress
from speedyzero.search import SearchResult
from speedyzero.system.keyed_random import EVALUATE, keys, seed_for, uniform

MOST_VISITED, SAMPLED = choices(EvaluateConfig, "action")


class Player(Protocol):
    """What evaluation needs of an agent."""

    search_config: SearchConfig

    def search(self, stacked: np.ndarray, *, simulations: int, tie_seed: int) -> Any:
        """stacked: [L, S, ...] -> a SearchResult, searched without root noise; read: policy, action and value."""
        ...


@dataclass(frozen=True)
class _Games:
    """Totals of one batch of games."""

    scores: np.ndarray  # [E] float64
    lengths: np.ndarray  # [E] int64, agent steps
    truncated: np.ndarray  # [E] bool: cut off by the limit
    actions: np.ndarray  # [A] int64: counts
    policy_sum: np.ndarray  # [A] float64: over all positions
    entropy_sum: np.ndarray  # [] float64: of these policies, in nats


def evaluate(
    agent: Player,
    env_config: EnvConfig,
    *,
    episodes: int,
    parallel_envs: int,
    seed: int = 0,
    simulations: int = 0,
    action: str = MOST_VISITED,
    film: Film | None = None,
    progress: GamesProgress | None = None,
) -> EvaluationResult:
    """Play `episodes` full games, `parallel_envs` at a time as one batch, and score them.

    Episode e is the first game of lane e under the evaluation seed, whatever `parallel_envs` is.
    simulations: per search, 0 as in training. action: as `evaluate.action`. film: records the first episode; the
    caller closes it. progress: updated as games are played.
    Raises ValueError for a film of a game that cannot be rendered.
    """
    batches: list[_Games] = []

    def notify(now: _Games, playing: int) -> None:
        if progress is not None:
            every = [*batches, now]
            finished = sum(len(batch.scores) for batch in every) - playing
            progress.update(finished, episodes, steps=sum(int(batch.lengths.sum()) for batch in every))

    for first_episode in range(0, episodes, parallel_envs):
        filmed = film if first_episode == 0 else None
        env = make_env(
            env_config,
            lanes=min(parallel_envs, episodes - first_episode),
            seed=seed_for(seed, EVALUATE),
            first_lane=first_episode,
            evaluation=True,
            render=filmed is not None,
        )
        try:
            choose = partial(chosen_actions, how=action, seed=seed)
            games = _play(
                agent, env, env_config, choose, first_episode, simulations=simulations, film=filmed, notify=notify
            )
            batches.append(games)
        finally:
            env.close()
    protocol = {
        "episodes": episodes,
        "parallel_envs": parallel_envs,
        "seed": seed,
        "simulations": simulations or agent.search_config.num_simulations,
        "search": agent.search_config.algorithm,
        "action": action.replace("_", " "),
        "root_noise": False,
    }
    return _result(batches, env_config, protocol)


def _result(batches: Sequence[_Games], env_config: EnvConfig, protocol: dict[str, Any]) -> EvaluationResult:
    """protocol: how the games were played, apart from the game's own part."""
    scores = np.concatenate([batch.scores for batch in batches])
    mean = float(scores.mean())
    truncated = int(sum(batch.truncated.sum() for batch in batches))
    return EvaluationResult(
        game=env_config.game,
        episode_scores=scores,
        episode_lengths=np.concatenate([batch.lengths for batch in batches]),
        mean=mean,
        std=float(scores.std(ddof=1)) if len(scores) > 1 else 0.0,
        ci95=bootstrap_ci95(scores),
        human_normalised=None if truncated else human_normalised(env_config.game, mean),
        action_shares=_action_shares(batches),
        policy_information=_policy_information(batches),
        protocol={**protocol, "truncated_episodes": truncated, **_game_protocol(env_config)},
    )


def _action_shares(batches: Sequence[_Games]) -> np.ndarray:
    """Relative frequency of each action, [A] float64."""
    actions = np.sum([batch.actions for batch in batches], axis=0)
    return actions / actions.sum()


def _policy_information(batches: Sequence[_Games]) -> float:
    """Entropy of the mean policy minus the policies' mean entropy, in nats."""
    policy = np.sum([batch.policy_sum for batch in batches], axis=0)
    positions = sum(int(batch.actions.sum()) for batch in batches)
    return float(entropy(policy / policy.sum()) - sum(batch.entropy_sum for batch in batches) / positions)


def _game_protocol(env_config: EnvConfig) -> dict:
    """The game's rules, as part of the protocol."""
    game = check_game(env_config)
    rules = {"reward": "raw", "lives": "ignored: full games", "limit_frames": env_config.eval_limit_frames}
    if game.kind == "gymnasium" and game.has_limit:
        rules["limit_frames"] = "the game's own"
    if game.kind != "atari":
        return rules
    return rules | {
        "frame_skip": env_config.frame_skip,
        "noop_frames_below": env_config.noop_max,
        "sticky_actions": env_config.sticky_actions,
        "action_set": "all 18" if env_config.full_action_space else "minimal",
    }


def _play(
    agent: Player,
    env: LaneEnv,
    env_config: EnvConfig,
    choose: Callable[..., np.ndarray],
    first_episode: int,
    *,
    simulations: int,
    film: Film | None,
    notify: Callable[[_Games, int], None],
) -> _Games:
    """Play one game per lane. A finished lane is no longer searched; its later actions are 0."""
    lanes = env.num_lanes
    num_actions = env.num_actions
    games = _Games(
        scores=np.zeros(lanes),
        lengths=np.zeros(lanes, np.int64),
        truncated=np.zeros(lanes, bool),
        actions=np.zeros(num_actions, np.int64),
        policy_sum=np.zeros(num_actions),
        entropy_sum=np.zeros(()),
    )
    stack = FrameStack(lanes, env_config.stack, env.spec)
    stacked = stack.push(env.reset(), np.ones(lanes, bool))
    playing = np.arange(lanes)  # [L] lane numbers
    names = action_names(env_config) if film is not None else ()
    tick = 0
    while playing.size:
        result = agent.search(stacked[playing], simulations=simulations, tie_seed=tick)
        action = np.zeros(lanes, np.int64)
        action[playing] = choose(result, episodes=first_episode + playing, tick=tick)
        _count(games, result.policy.cpu().numpy(), action[playing])
        filming = film is not None and playing[0] == 0
        if film is not None and filming:
            thought = Thought(float(result.value[0]), result.policy[0].cpu().numpy(), int(action[0]))
            film.add(env.render(0), score=games.scores[0], thought=thought, actions=names)
        step = env.step(action)
        tick += 1
        games.scores[playing] += step.raw_reward[playing]
        games.lengths[playing] += 1
        over = step.game_over[playing] | step.truncated[playing]
        games.truncated[playing] = over & ~step.game_over[playing]
        if film is not None and filming and over[0]:
            film.add(env.render(0), score=games.scores[0], thought=None, actions=names)
        playing = playing[~over]
        notify(games, playing.size)
        stacked = stack.push(step.frame, step.started)
    return games


def _count(games: _Games, policy: np.ndarray, action: np.ndarray) -> None:
    """Add one tick of the playing lanes. policy: [L, A]; action: [L]."""
    games.actions[:] += np.bincount(action, minlength=len(games.actions))
    games.policy_sum[:] += policy.sum(0, dtype=np.float64)
    games.entropy_sum[...] += entropy(policy).sum(dtype=np.float64)


def chosen_actions(result: SearchResult, how: str, *, seed: int, episodes: np.ndarray, tick: int) -> np.ndarray:
    """[E] int64: the most visited actions, or samples of the search's improved policy.

    A policy that has learnt to mix actions can score well sampled and badly as its most likely action. Every draw is a
    function of (seed, episode, tick), so that scores depend neither on the number of parallel games nor on the machine.
    how: as `evaluate.action`. seed: the evaluation's; episodes: [E] int64, each lane's game.
    """
    if how == MOST_VISITED:
        return result.action.cpu().numpy()
    assert how == SAMPLED, how
    cumulative = result.policy.cpu().numpy().astype(np.float64).cumsum(axis=1)  # [E, A]
    row_keys = keys(seed, EVALUATE, episodes, tick, 1)  # the games' own seeds end in 0
    drawn = uniform(row_keys, 1) * cumulative[:, -1:]
    return (cumulative > drawn).argmax(axis=1)
