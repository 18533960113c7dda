"""EfficientZero-class agents trained in minutes on one machine. `speedyzero.load(DIR)` gives a trained one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from speedyzero.system import numba_cache

if TYPE_CHECKING:
    from speedyzero.evaluate.loaded import load as load

__all__ = ["load"]

numba_cache.find_a_place()


def __getattr__(name: str) -> Any:
    if name == "load":  # imported late: the command line checks its arguments without torch
        from speedyzero.evaluate.loaded import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
