"""How the tree kernels are compiled, and what they may cost."""

from __future__ import annotations

from tests.kernels.sm90 import Case

CASES: list[Case] = []
