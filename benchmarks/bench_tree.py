"""Tree operations alone: our numba search beside mctx on the same model.

The model costs next to nothing: a state is a number, outputs are looked up in random tables, and both sides look them
up in the same tables. With the same Gumbel noise both must find the same visits, which is checked before timing.
pUCT differs in how values are normalised, so there only the sizes are the same. Ours uses one thread; mctx is compiled
by jax.jit and uses what threads XLA takes. Without mctx (extra `bench`) ours is timed alone.

    make bench NAME=tree
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numba
import numpy as np
import torch

from benchmarks.common import Figure, parser, report, time_by_turns, version
from speedyzero.search import RootOutput, SearchConfig, SearchResult, StepOutput, search

STATES = 1009
DISCOUNT = 0.997
SIZES = ((256, 6, 50), (256, 18, 50))  # (roots, actions, simulations)
TARGET_RATIO = {"puct": 15, "gumbel": 8}


@dataclass(frozen=True)
class Tables:
    """A random model. The same numbers for torch and for jax."""

    root_state: np.ndarray  # [B] int32
    next_state: np.ndarray  # [STATES, A] int32
    reward: np.ndarray  # [STATES] float32
    value: np.ndarray  # [STATES] float32
    logits: np.ndarray  # [STATES, A] float32

    @staticmethod
    def random(batch: int, actions: int) -> Tables:
        rng = np.random.default_rng(0)
        return Tables(
            root_state=rng.integers(0, STATES, batch, dtype=np.int32),
            next_state=rng.integers(0, STATES, (STATES, actions), dtype=np.int32),
            reward=rng.normal(size=STATES).astype(np.float32),
            value=rng.normal(size=STATES).astype(np.float32),
            logits=rng.normal(size=(STATES, actions)).astype(np.float32),
        )


@numba.njit
def _look_up(next_state, reward, value, logits, state, action, out_state, out_reward, out_value, out_logits):
    for b in range(state.shape[0]):
        number = np.uint32(next_state[np.uint32(state[b]), np.uint64(action[b])])
        out_state[b] = number
        out_reward[b] = reward[number]
        out_value[b] = value[number]
        for a in range(logits.shape[1]):
            out_logits[b, a] = logits[number, a]


def our_search(tables: Tables, algorithm: str, simulations: int) -> Callable[..., SearchResult]:
    """A function of the noise (None: drawn) that runs one search. The model is compiled, as mctx's is."""
    config = SearchConfig(num_simulations=simulations, discount=DISCOUNT, algorithm=algorithm, prefix_horizon=0)
    model = (tables.next_state, tables.reward, tables.value, tables.logits)
    state = torch.from_numpy(tables.root_state)
    root = RootOutput(
        torch.from_numpy(tables.logits[tables.root_state]),
        torch.from_numpy(tables.value[tables.root_state]),
        {"number": state},
    )
    step = StepOutput(
        torch.empty_like(root.value),
        torch.empty_like(root.value),
        torch.empty_like(root.policy_logits),
        {"number": torch.empty_like(state)},
    )
    outputs = [t.numpy() for t in (step.state["number"], step.reward, step.value, step.policy_logits)]

    def recurrent(state: dict[str, torch.Tensor], action: torch.Tensor) -> StepOutput:
        _look_up(*model, state["number"].numpy(), action.numpy(), *outputs)
        return step

    return lambda noise=None: search(root, recurrent, config, noise)


def mctx_search(tables: Tables, algorithm: str, simulations: int):
    """A function of the seed that runs one search to its end, compiled. Returns (visits, Gumbel noise)."""
    import jax
    import jax.numpy as jnp
    import mctx

    next_state, reward, value, logits = (
        jnp.asarray(t) for t in (tables.next_state, tables.reward, tables.value, tables.logits)
    )
    root_state = jnp.asarray(tables.root_state)

    def recurrent(params, key, action, state):
        number = next_state[state, action]
        output = mctx.RecurrentFnOutput(
            reward=reward[number],
            discount=jnp.full_like(reward[number], DISCOUNT),
            prior_logits=logits[number],
            value=value[number],
        )
        return output, number

    policy = mctx.muzero_policy if algorithm == "puct" else mctx.gumbel_muzero_policy

    @jax.jit
    def run(seed):
        key = jax.random.PRNGKey(seed)
        root = mctx.RootFnOutput(prior_logits=logits[root_state], value=value[root_state], embedding=root_state)
        output = policy((), key, root, recurrent, simulations)
        gumbel = jax.random.gumbel(jax.random.split(key)[1], root.prior_logits.shape)
        return output.search_tree.summary().visit_counts, gumbel

    return lambda seed: jax.block_until_ready(run(seed))


def measure(batch: int, actions: int, simulations: int, *, repeats: int) -> list[Figure]:
    tables = Tables.random(batch, actions)
    subjects: dict[str, Callable[[], object]] = {}
    for algorithm in TARGET_RATIO:
        ours = our_search(tables, algorithm, simulations)
        subjects[f"{algorithm} ours"] = ours
        if version("mctx"):
            theirs = mctx_search(tables, algorithm, simulations)
            subjects[f"{algorithm} mctx"] = lambda theirs=theirs: theirs(1)
            if algorithm == "gumbel":
                visits, gumbel = theirs(0)
                found = ours(torch.from_numpy(np.array(gumbel))).visits
                same = (found.numpy() == np.array(visits)).all(-1).mean()
                assert same > 0.99, f"only {same:.1%} of the roots have mctx's visits"
    turns = time_by_turns(subjects, repeats=repeats, turn_s=0.02)
    size = f"{batch} roots, {actions} actions, {simulations} simulations"
    figures = [Figure.of(f"{name}, {size}", [1e3 * s for s in one.wall_s], "ms") for name, one in turns.items()]
    for algorithm, target in TARGET_RATIO.items():
        if f"{algorithm} mctx" in turns:
            ours, theirs = (turns[f"{algorithm} {side}"] for side in ("ours", "mctx"))
            for kind, clock in (("", "wall_s"), (" (processor)", "cpu_s")):
                ratios = [b / a for a, b in zip(getattr(ours, clock), getattr(theirs, clock), strict=True)]
                what = f"mctx's time{kind} over ours, {algorithm}, {size}"
                figures.append(Figure.of(what, ratios, "x", f"{target}x"))
    return figures


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--repeats", type=int, default=20, help="measurements of each subject (default 20)")
    repeats = options.parse_args().repeats
    torch.set_num_threads(1)
    figures = [figure for size in SIZES for figure in measure(*size, repeats=repeats)]
    report("bench_tree", figures, packages=("torch", "numba", "numpy", "mctx", "jax"))


if __name__ == "__main__":
    main()
