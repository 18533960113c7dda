"""The weights that a learner has published, as a checkpoint's part: whoever acts or makes targets goes on with them.

acting   the newest: actors, and the sweep of priorities once it begins anew
targets  of the interval under way and of the one before: the target network is an interval behind
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from speedyzero.checkpoint.stored import Checkpoint
from speedyzero.topology.records import WeightsRecord
from speedyzero.topology.role_state import RoleState

PART = "published"


@dataclass(frozen=True)
class Published:
    """Oldest first."""

    acting: tuple[WeightsRecord, ...]
    targets: tuple[WeightsRecord, ...]

    def part(self) -> RoleState:
        names = [("acting", record) for record in self.acting] + [("target", record) for record in self.targets]
        return RoleState({}, {f"{kind}/{record.version}": record.flat for kind, record in names})

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> Published:
        """Raises ValueError where the checkpoint has no such part or an odd one."""
        found: dict[str, list[WeightsRecord]] = {"acting": [], "target": []}
        try:
            for name, tensor in checkpoint.part(PART).tensors.items():
                kind, _, version = name.partition("/")
                found[kind].append(WeightsRecord(int(version), torch.as_tensor(tensor)))
        except (KeyError, ValueError) as error:
            raise ValueError(f"checkpoint {checkpoint.directory}: no published weights: {error}") from error
        acting, targets = (tuple(sorted(records, key=lambda one: one.version)) for records in found.values())
        return cls(acting, targets)
