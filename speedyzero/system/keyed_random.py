"""Counter-based random numbers: every draw is a pure function of integer keys, so there is no state to save.

The keys are seed, stream, and up to three more integers such as lane, step and version. The same keys give the same
numbers in any order, process or batch. The generator is SplitMix64's finaliser over the mixed keys (Steele, Lea, Flood,
OOPSLA 2014); gamma variates are Marsaglia and Tsang's (ACM TOMS 26, 2000).

Axes: N rows (positions), A actions.
"""

import math

import numba
import numpy as np

# One stream per use, so that two uses of the same keys draw different numbers.
ENV_SEED, ACT_NOISE, ACT_CHOICE, REANALYZE_NOISE, SAMPLE, AUGMENT, INIT, EVALUATE, SHARD = range(9)

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


@numba.njit(inline="always")
def _mix(x):
    x = (x ^ (x >> np.uint64(30))) * _MIX_1
    x = (x ^ (x >> np.uint64(27))) * _MIX_2
    return x ^ (x >> np.uint64(31))


@numba.njit(inline="always")
def _absorb(state, key):
    return _mix((state ^ np.uint64(key)) + _GOLDEN)


@numba.njit(inline="always")
def _to_unit(bits):
    """64 random bits to a float64 in the open interval (0, 1)."""
    return (np.float64(bits >> np.uint64(12)) + 0.5) * (1.0 / 4503599627370496.0)


@numba.njit(cache=True)
def _keys(seed, stream, a, b, c):
    state = _absorb(_absorb(np.uint64(0), np.int64(seed)), np.int64(stream))
    out = np.empty(a.shape[0], np.uint64)
    for i in range(a.shape[0]):
        out[i] = _absorb(_absorb(_absorb(state, a[i]), b[i]), c[i])
    return out


@numba.njit(cache=True)
def _uniform(keys, columns):
    out = np.empty((keys.shape[0], columns), np.float64)
    for i in range(keys.shape[0]):
        for j in range(columns):
            out[i, j] = _to_unit(_absorb(keys[i], j))
    return out


@numba.njit(cache=True)
def _gamma(key, alpha):
    """One Gamma(alpha, 1) variate; alpha below 1 by the boost u^(1/alpha)."""
    shape = alpha if alpha >= 1.0 else alpha + 1.0
    d = shape - 1.0 / 3.0
    scale = 1.0 / math.sqrt(9.0 * d)
    counter = 0
    while True:
        u1 = _to_unit(_absorb(key, counter))
        u2 = _to_unit(_absorb(key, counter + 1))
        u3 = _to_unit(_absorb(key, counter + 2))
        counter += 3
        normal = math.sqrt(-2.0 * math.log(u1)) * math.cos(2.0 * math.pi * u2)
        v = (1.0 + scale * normal) ** 3
        if v > 0.0 and math.log(u3) < 0.5 * normal * normal + d - d * v + d * math.log(v):
            break
    if alpha >= 1.0:
        return d * v
    return d * v * _to_unit(_absorb(key, counter)) ** (1.0 / alpha)


@numba.njit(cache=True)
def _dirichlet(keys, columns, alpha):
    out = np.empty((keys.shape[0], columns), np.float32)
    row = np.empty(columns, np.float64)
    for i in range(keys.shape[0]):
        total = 0.0
        for j in range(columns):
            row[j] = _gamma(_absorb(keys[i], -1 - j), alpha) + 1e-300
            total += row[j]
        for j in range(columns):
            out[i, j] = row[j] / total
    return out


def keys(seed: int, stream: int, a, b=0, c=0) -> np.ndarray:
    """One 64-bit key per row, [N] uint64. a, b, c: integers or [N] integer arrays, broadcast together."""
    a, b, c = np.broadcast_arrays(np.atleast_1d(a), b, c)
    return _keys(seed, stream, *(np.array(x, np.int64) for x in (a, b, c)))


def uniform(row_keys: np.ndarray, columns: int) -> np.ndarray:
    """Uniform draws in the open interval (0, 1), [N, columns] float64."""
    return _uniform(row_keys, columns)


def gumbel(row_keys: np.ndarray, columns: int) -> np.ndarray:
    """Standard Gumbel draws, [N, columns] float32."""
    return (-np.log(-np.log(_uniform(row_keys, columns)))).astype(np.float32)


def dirichlet(row_keys: np.ndarray, columns: int, *, alpha: float) -> np.ndarray:
    """Symmetric Dirichlet draws, [N, columns] float32, rows summing to 1."""
    return _dirichlet(row_keys, columns, alpha)


def seed_for(seed: int, stream: int, a: int = 0, b: int = 0, c: int = 0) -> int:
    """A non-negative 31-bit seed for a library's own generator."""
    return int(keys(seed, stream, a, b, c)[0] >> np.uint64(33))


def root_noise(row_keys: np.ndarray, num_actions: int, *, algorithm: str, alpha: float) -> np.ndarray:
    """A search's `noise`, [N, A] float32: Dirichlet draws for `puct`, Gumbel draws for `gumbel`."""
    if algorithm == "gumbel":
        return gumbel(row_keys, num_actions)
    return dirichlet(row_keys, num_actions, alpha=alpha)
