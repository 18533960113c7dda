"""The weights that a learner has published, as a checkpointed role state.

acting   the newest, for actors and for the next priority refresh pass
targets  of the current and the previous interval: the target network is one interval behind
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
    """Records are in order, oldest first."""

    acting: tuple[WeightsRecord, ...]
    targets: tuple[WeightsRecord, ...]

    def part(self) -> RoleState:
        names = [("acting", record) for record in self.acting] + [("target", record) for record in self.targets]
        return RoleState({}, {f"{kind}/{record.version}": record.flat for kind, record in names})

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> Published:
        """Raises ValueError if the checkpoint's published weights are missing or malformed."""
        found: dict[str, list[WeightsRecord]] = {"acting": [], "target": []}
        try:
            for name, tensor in checkpoint.part(PART).tensors.items():
                kind, _, version = name.partition("/")
                found[kind].append(WeightsRecord(int(version), torch.as_tensor(tensor)))
        except (KeyError, ValueError) as error:
            raise ValueError(f"checkpoint {checkpoint.directory}: no published weights: {error}") from error
        acting, targets = (tuple(sorted(records, key=lambda one: one.version)) for records in found.values())
        return cls(acting, targets)
