"""The checkpointable state of a role: the files NAME.json and NAME.safetensors of a checkpoint."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

Tensors = Mapping[str, Tensor | np.ndarray]


@dataclass(frozen=True)
class RoleState:
    """Taken between two steps of a role; tensors may be the role's own memory: copy them before its next step."""

    document: Any  # strict JSON
    tensors: Tensors
    written: Mapping[str, Mapping] = field(default_factory=dict)  # files on disk already: manifest entries by name

    def array(self, name: str) -> np.ndarray:
        """One of the tensors, as an array. Raises ValueError if it is missing."""
        if name not in self.tensors:
            raise ValueError(f"there is no {name}, only {', '.join(self.tensors)}")
        return np.asarray(self.tensors[name])
