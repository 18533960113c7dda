"""exp on the CPU in plain arithmetic, which the compiler can vectorise."""

import math

import numba
import numpy as np

_LOG2_E = np.float32(1.0 / math.log(2.0))
# ln 2 in two parts: the first has few enough bits that its small multiples are exact.
_LN2_HIGH = np.float32(0.693359375)
_LN2_LOW = np.float32(math.log(2.0) - 0.693359375)
_LOWEST = np.float32(-87.0)  # below, exp is not a normal float32
_HALF = np.float32(0.5)
_ONE = np.float32(1.0)
_T2, _T3, _T4, _T5, _T6, _T7 = (np.float32(1.0 / math.factorial(i)) for i in range(2, 8))


# numba's disk cache checks only the caller's file: remove __pycache__ after a change here.
@numba.njit(inline="always")
def exp_of_negative(x):
    """exp(x) for float32 x <= 0, within 1.5e-7 relative; exp(-87) for all below.

    x = n ln 2 + r with |r| <= ln(2) / 2, where Taylor's polynomial of degree 7 suffices; 2^n is built from its bits.
    """
    x = max(x, _LOWEST)
    n = np.floor(x * _LOG2_E + _HALF)
    r = (x - n * _LN2_HIGH) - n * _LN2_LOW
    series = _ONE + r * (_ONE + r * (_T2 + r * (_T3 + r * (_T4 + r * (_T5 + r * (_T6 + r * _T7))))))
    return series * np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)
