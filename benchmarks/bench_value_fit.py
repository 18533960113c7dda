"""How well do agents' values foresee what then comes, and what do their policies know? Of several checkpoints, over
the same games.

One agent plays as an actor does (searches with root noise), with a tenth of its actions at random; the discounted,
clipped rewards to the end of each life are what every checkpoint's value of the same stacks is compared with. A score
over full games needs hundreds of games to tell two agents apart where games differ by as much as they score; a value
function is judged by thousands of positions. It was made to find out why UpNDown was not learnt.

    make bench NAME=value_fit ARGS="--player runs/A --checkpoints runs/A/checkpoints/* runs/B/checkpoints/*"

Printed: correlation of value and return, their means, and the mean square of their difference over the variance of the
returns (1 is what the mean return for everything would have, 0 perfect). Of the policies: the information about the
position that the network's holds (nats: entropy of the mean policy less the mean entropy; 0 is the same policy
everywhere), the same of the search's improved policy, and how far two searches of a position with other root noise are
apart (total variation, 0 to 1): what the network cannot learn. Of the model: by how much the value of a state unrolled
over five actions that were played differs from the root's value of what really came then, on average (deep), and by how
much values one action later differ between actions (acts): a search that compares actions by nodes of other depths
needs the first well below the second.

Axes: T ticks, E lanes, N positions, M of them whose life goes on for K more ticks, A actions.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.common import write_result
from speedyzero.config import get
from speedyzero.env.frame_stack import FrameStack
from speedyzero.env.registry import make_env
from speedyzero.evaluate.command import load_agent
from speedyzero.evaluate.source import find_source
from speedyzero.model.agent import Agent

LANES, RANDOM_SHARE, BATCH = 8, 0.1, 256
EVERY = 6  # positions a position that is searched
UNROLLED = 5  # K


@dataclass(frozen=True)
class Played:
    """Positions whose life was played to its end."""

    stacked: np.ndarray  # [N, S, ...]
    returns: np.ndarray  # [N] float64: discounted, clipped
    lives: int
    chains: Chains


@dataclass(frozen=True)
class Chains:
    """What was played from positions whose life went on."""

    first: np.ndarray  # [M] int64: of `Played.stacked`
    last: np.ndarray  # [M] int64: K ticks later
    action: np.ndarray  # [M, K] int64


def play(directory: Path, *, ticks: int, seed: int) -> Played:
    """Games of the agent there. seed: of the games, the noise and the random actions."""
    source = find_source(directory)
    agent, env_config = load_agent(source.config, source.weights), source.config.env
    env = make_env(env_config, lanes=LANES, seed=seed)
    stack, random = FrameStack(LANES, env_config.stack, env.spec), np.random.default_rng(seed)
    stacked = stack.push(env.reset(), np.ones(LANES, bool))
    positions, reward = np.zeros((ticks, *stacked.shape), stacked.dtype), np.zeros((ticks, LANES))
    over, played = np.zeros((ticks, LANES), bool), np.zeros((ticks, LANES), np.int64)
    for tick in range(ticks):
        positions[tick] = stacked
        noise = random.gumbel(size=(LANES, agent.num_actions)).astype(np.float32)
        action = agent.search(stacked, noise=noise).action.numpy()
        anything = random.integers(agent.num_actions, size=LANES)
        played[tick] = np.where(random.random(LANES) < RANDOM_SHARE, anything, action)
        step = env.step(played[tick])
        reward[tick], over[tick] = step.reward, step.life_lost | step.game_over
        stacked = stack.push(step.frame, step.started)
    env.close()
    returns = returns_of(reward, over, discount=source.config.search.discount)
    known = np.isfinite(returns)
    if not known.any():
        raise SystemExit(f"bench_value_fit: no life ended within {ticks} ticks of {LANES} lanes: more --ticks")
    return Played(positions[known], returns[known], int(over.sum()), chains_of(known, over, played))


def chains_of(known: np.ndarray, over: np.ndarray, action: np.ndarray) -> Chains:
    """known, over, action: [T, E]; positions are counted as `known` picks them."""
    number = np.cumsum(known.reshape(-1)).reshape(known.shape) - 1
    goes_on = known[:-UNROLLED] & known[UNROLLED:]
    for later in range(UNROLLED):
        goes_on &= ~over[later : later - UNROLLED]
    actions = np.stack([action[later : later - UNROLLED][goes_on] for later in range(UNROLLED)], axis=1)
    return Chains(number[:-UNROLLED][goes_on], number[UNROLLED:][goes_on], actions)


def returns_of(reward: np.ndarray, over: np.ndarray, *, discount: float) -> np.ndarray:
    """Discounted rewards to the end of the life, [T, E]; nan where it did not end. reward, over: [T, E]."""
    returns, later = np.zeros(reward.shape), np.full(reward.shape[1], np.nan)
    for tick in reversed(range(len(reward))):
        later = reward[tick] + np.where(over[tick], 0.0, discount * later)
        returns[tick] = later
    return returns


def fit(directory: Path, played: Played) -> dict[str, object]:
    """What one checkpoint's values have to do with the returns."""
    source = find_source(directory)
    agent = load_agent(source.config, source.weights)
    parts = [played.stacked[i : i + BATCH] for i in range(0, len(played.stacked), BATCH)]
    value = np.concatenate([agent.root(part).value.numpy() for part in parts]).astype(np.float64)
    returns = played.returns
    return {
        "checkpoint": "/".join(directory.resolve().parts[-3:]),
        "step": source.weights.meta["step"],
        "td_steps": get(source.config, "target.td_steps"),
        "c_scale": get(source.config, "search.c_scale"),
        "correlation": float(np.corrcoef(value, returns)[0, 1]),
        "mean_value": float(value.mean()),
        "mean_return": float(returns.mean()),
        "square_over_variance": float(((returns - value) ** 2).mean() / returns.var()),
        **_policies(agent, played.stacked[::EVERY]),
        **_model(agent, played, value),
    }


def _model(agent: Agent, played: Played, value: np.ndarray) -> dict[str, float]:
    """What the model makes of actions. value: [N], the root's."""
    chains, stride = played.chains, max(1, len(played.chains.first) // 1024)
    first, last, action = chains.first[::stride], chains.last[::stride], torch.from_numpy(chains.action[::stride])
    root = agent.root(played.stacked[first])
    each = []
    for one in range(agent.num_actions):
        each.append(agent.recurrent(root.state, torch.full_like(action[:, 0], one)).value)
    state, step = root.state, None
    for later in range(UNROLLED):
        step = agent.recurrent(state, action[:, later])
        state = step.state
    assert step is not None
    return {
        "deep_value_difference": float(step.value.mean().item() - value[last].mean()),
        "action_value_sd": float(torch.stack(each).std(dim=0, correction=0).mean()),
    }


def _policies(agent: Agent, stacked: np.ndarray) -> dict[str, float]:
    """What the network's policy and the search's know of the positions, [N, S, ...]."""
    prior = torch.softmax(agent.root(stacked).policy_logits, dim=1).numpy()
    random = np.random.default_rng(0)
    searched = []
    for _ in range(2):
        noise = random.gumbel(size=(len(stacked), agent.num_actions)).astype(np.float32)
        searched.append(agent.search(stacked, noise=noise).policy.numpy())
    return {
        "prior_information": _information(prior),
        "search_information": _information(searched[0]),
        "search_repeat_distance": float(0.5 * np.abs(searched[0] - searched[1]).sum(1).mean()),
    }


def _information(policy: np.ndarray) -> float:
    """Between position and action, in nats. policy: [N, A]."""

    def entropy(shares: np.ndarray) -> np.ndarray:
        return -(shares * np.log(np.maximum(shares, 1e-12))).sum(-1)

    return float(entropy(policy.mean(0)) - entropy(policy).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--player", type=Path, required=True, help="the run or checkpoint that plays")
    parser.add_argument("--checkpoints", type=Path, nargs="+", required=True, help="runs or checkpoints to be judged")
    parser.add_argument("--ticks", type=int, default=700, help=f"agent steps of each of {LANES} lanes (default 700)")
    parser.add_argument("--seed", type=int, default=777)
    arguments = parser.parse_args()
    with torch.inference_mode():
        played = play(arguments.player, ticks=arguments.ticks, seed=arguments.seed)
        print(f"{len(played.returns)} positions of {played.lives} lives, mean return {played.returns.mean():.2f}")
        names = ("value", "sq/var", "prior", "search", "apart", "deep", "acts")
        print(f"{'checkpoint':44} {'td':>3} {'corr':>6} " + " ".join(f"{name:>7}" for name in names))
        fits = []
        for directory in arguments.checkpoints:
            found = fit(directory, played)
            fits.append(found)
            print(
                f"{found['checkpoint']:44} {found['td_steps']:3} {found['correlation']:6.3f} "
                f"{found['mean_value']:7.2f} {found['square_over_variance']:7.3f} {found['prior_information']:7.4f} "
                f"{found['search_information']:7.3f} {found['search_repeat_distance']:7.2f} "
                f"{found['deep_value_difference']:7.3f} {found['action_value_sd']:7.4f}",
                flush=True,
            )
    results = {
        "player": "/".join(arguments.player.resolve().parts[-3:]),
        "positions": len(played.returns),
        "lives": played.lives,
        "mean_return": float(played.returns.mean()),
        "fits": fits,
    }
    print(f"written to {write_result('bench_value_fit', results, packages=('torch', 'numpy', 'ale-py'))}")


if __name__ == "__main__":
    main()
