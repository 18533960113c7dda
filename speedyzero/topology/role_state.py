"""What one role goes on from: the files NAME.json and NAME.safetensors of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

Tensors = Mapping[str, Tensor | np.ndarray]


@dataclass(frozen=True)
class RoleState:
    """Made by a role between two of its steps; memory may be the role's own, to be copied before it moves on."""

    document: Any  # strict JSON
    tensors: Tensors

    def array(self, name: str) -> np.ndarray:
        """One of the tensors, as an array. Raises ValueError where there is none."""
        if name not in self.tensors:
            raise ValueError(f"there is no {name}, only {', '.join(self.tensors)}")
        return np.asarray(self.tensors[name])
