"""An optimiser's state as tensors and JSON, bit-exact, for `store.py`: SGD, AdamW, ClippedLARS and the like.

JSON has no tensors, tuples, infinities or numeric keys. Each becomes an object with one key:

    {"tensor": "state/0/momentum_buffer"}   {"tuple": [0.9, 0.999]}   {"float": "inf"}   {"items": [[0, ...], ...]}

Every dict is written as items, in its order, so that its keys cannot be confused with these marks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor


def pack_optimizer(state_dict: Mapping[str, Any]) -> tuple[dict[str, Tensor], Any]:
    """The tensors of a state dict by name, and the rest as strict JSON. Tensors are not copied.

    Raises ValueError for anything but tensors, dicts, lists, tuples, strings, numbers, bools and None.
    """
    tensors: dict[str, Tensor] = {}
    return tensors, _pack(state_dict, "", tensors)


def unpack_optimizer(tensors: Mapping[str, Tensor], rest: Any) -> dict[str, Any]:
    """The inverse of `pack_optimizer`. Raises ValueError if tensors and rest do not match."""
    unused = set(tensors)
    state_dict = _unpack(rest, tensors, unused)
    if not isinstance(state_dict, dict) or set(state_dict) != {"state", "param_groups"}:
        raise ValueError("not an optimiser's state: it must have state and param_groups")
    if unused:
        raise ValueError(f"the optimiser's state does not name tensor {sorted(unused)[0]}, which is there")
    return state_dict


def _pack(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    if value is None or type(value) in (bool, int, str):
        return value
    if type(value) is float:
        return value if math.isfinite(value) else {"float": repr(value)}
    if isinstance(value, Tensor):
        assert path not in tensors, path
        tensors[path] = value.detach()
        return {"tensor": path}
    if isinstance(value, (list, tuple)):
        packed = [_pack(entry, f"{path}/{i}".lstrip("/"), tensors) for i, entry in enumerate(value)]
        return packed if isinstance(value, list) else {"tuple": packed}
    if isinstance(value, Mapping) and all(type(key) in (int, str) for key in value):
        return {"items": [[key, _pack(entry, f"{path}/{key}".lstrip("/"), tensors)] for key, entry in value.items()]}
    raise ValueError(f"an optimiser's state holds {type(value).__name__} {value!r} at {path}: it cannot be saved")


def _unpack(value: Any, tensors: Mapping[str, Tensor], unused: set[str]) -> Any:
    if isinstance(value, list):
        return [_unpack(entry, tensors, unused) for entry in value]
    if not isinstance(value, dict):
        return value
    try:
        ((mark, content),) = value.items()
        if mark == "tensor":
            unused.discard(content)
            return tensors[content]
        if mark == "tuple":
            return tuple(_unpack(entry, tensors, unused) for entry in content)
        if mark == "float":
            return float(content)
        if mark == "items":
            return {key: _unpack(entry, tensors, unused) for key, entry in content}
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"the optimiser's state is not one that was packed: {error!r}") from error
    raise ValueError(f"the optimiser's state is not one that was packed: {mark!r}")
