"""Keyed randomness: the generator again in plain integers, and the distributions that it makes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speedyzero.system import keyed_random
from speedyzero.system.keyed_random import dirichlet, gumbel, keys, root_noise, seed_for, uniform

N = 20_000
STREAMS = range(9)
WORD = (1 << 64) - 1
integers = st.integers(-(2**63), 2**63 - 1)


def slow_mix(x: int) -> int:
    """SplitMix64's finaliser."""
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & WORD
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & WORD
    return x ^ (x >> 31)


def slow_key(*names: int) -> int:
    state = 0
    for name in names:
        state = slow_mix(((state ^ (name & WORD)) + 0x9E3779B97F4A7C15) & WORD)
    return state


@given(integers, st.integers(0, 7), integers, integers, integers)
def test_keys_in_plain_integers(seed, stream, a, b, c):
    """So that a seed means the same run on every machine and in every version."""
    (key,) = keys(seed, stream, a, b, c)
    assert int(key) == slow_key(seed, stream, a, b, c)
    first, second = uniform(np.array([key]), 2)[0]
    assert first == ((slow_key_from(int(key), 0) >> 12) + 0.5) / 2**52
    assert second == ((slow_key_from(int(key), 1) >> 12) + 0.5) / 2**52
    assert seed_for(seed, stream, a, b, c) == slow_key(seed, stream, a, b, c) >> 33


def slow_key_from(state: int, name: int) -> int:
    return slow_mix(((state ^ name) + 0x9E3779B97F4A7C15) & WORD)


def draws(kind: str, row_keys: np.ndarray) -> np.ndarray:
    if kind == "uniform":
        return uniform(row_keys, 4)
    return gumbel(row_keys, 4) if kind == "gumbel" else dirichlet(row_keys, 4, alpha=0.3)


@pytest.mark.parametrize("kind", ["uniform", "gumbel", "dirichlet"])
def test_a_row_does_not_know_its_batch(kind):
    lane, step = np.arange(50) % 7, np.arange(50) * 3
    batch = draws(kind, keys(1, keyed_random.ACT_NOISE, lane, step, 9))
    order = np.random.default_rng(0).permutation(50)
    assert np.array_equal(draws(kind, keys(1, keyed_random.ACT_NOISE, lane[order], step[order], 9)), batch[order])
    for i in (0, 49):
        alone = draws(kind, keys(1, keyed_random.ACT_NOISE, int(lane[i]), int(step[i]), 9))
        assert np.array_equal(alone, batch[i : i + 1])
    assert len({row.tobytes() for row in batch}) == 50


def test_streams_differ():
    rows = [uniform(keys(0, stream, np.arange(1000)), 1)[:, 0] for stream in STREAMS]
    correlation = np.corrcoef(rows)[np.triu_indices(len(STREAMS), 1)]
    assert np.abs(correlation).max() < 0.13  # 4 standard deviations
    assert not any(np.intersect1d(a, b).size for i, a in enumerate(rows) for b in rows[:i])


@pytest.mark.parametrize("axis", ["seed", "a", "b", "c", "column"])
def test_uniform_along_every_name(axis):
    """Neighbouring keys are independent too: chi-square of pairs over 8 x 8 cells, 63 degrees of freedom (p = 1e-4)."""
    counter = np.arange(N)
    if axis == "seed":
        draw = np.concatenate([uniform(keys(seed, 0, 0), 1)[:, 0] for seed in range(2_000)])
    elif axis == "column":
        draw = uniform(keys(0, 0, 0), N)[0]
    else:
        draw = uniform(keys(0, 0, **{"a": 0, "b": 0, "c": 0, axis: counter}), 1)[:, 0]
    assert draw.min() > 0 and draw.max() < 1
    n = len(draw)
    assert draw.mean() == pytest.approx(0.5, abs=4 / np.sqrt(12 * n))
    assert draw.var() == pytest.approx(1 / 12, abs=4 * np.sqrt(1 / 180 / n))
    cells = (8 * draw).astype(int)
    for lag in (1, 2):
        counts = np.bincount(8 * cells[:-lag] + cells[lag:], minlength=64)
        expected = (n - lag) / 64
        assert ((counts - expected) ** 2 / expected).sum() < 113


def test_gumbel_moments():
    draw = gumbel(keys(3, keyed_random.ACT_NOISE, np.arange(N)), 3)
    assert draw.dtype == np.float32 and np.isfinite(draw).all()
    assert draw.mean(0) == pytest.approx(0.57722, abs=0.04)  # Euler's constant
    assert draw.var(0) == pytest.approx(np.pi**2 / 6, abs=0.1)
    assert np.abs(np.corrcoef(draw.T) - np.eye(3)).max() < 0.03
    for threshold in (-1.0, 0.0, 1.0, 3.0):
        assert (draw < threshold).mean() == pytest.approx(np.exp(-np.exp(-threshold)), abs=0.01)


@pytest.mark.parametrize(("columns", "alpha"), [(4, 0.3), (18, 0.3), (3, 1.0), (5, 2.5), (2, 0.05)])
def test_dirichlet_moments(columns, alpha):
    """Mean 1/A, variance (A - 1) / (A^2 (A alpha + 1)), covariance -1 / (A^2 (A alpha + 1))."""
    draw = dirichlet(keys(5, keyed_random.REANALYZE_NOISE, np.arange(N)), columns, alpha=alpha)
    assert draw.shape == (N, columns) and draw.dtype == np.float32
    assert (draw >= 0).all() and np.isfinite(draw).all()
    assert draw.sum(1) == pytest.approx(1.0, abs=1e-5)
    unit = 1 / (columns**2 * (columns * alpha + 1))
    variance = (columns - 1) * unit
    assert draw.mean(0) == pytest.approx(1 / columns, abs=5 * np.sqrt(variance / N))
    assert draw.var(0) == pytest.approx(variance, rel=0.1)
    covariance = np.cov(draw.T)[np.triu_indices(columns, 1)]
    assert covariance == pytest.approx(-unit, abs=0.05 * variance)


def test_root_noise_is_what_the_search_takes():
    row_keys = keys(0, keyed_random.ACT_NOISE, np.arange(6))
    assert np.array_equal(root_noise(row_keys, 4, algorithm="gumbel", alpha=0.3), gumbel(row_keys, 4))
    assert np.array_equal(root_noise(row_keys, 4, algorithm="puct", alpha=0.3), dirichlet(row_keys, 4, alpha=0.3))
