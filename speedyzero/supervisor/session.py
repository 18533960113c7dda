"""What the training loop (`train.py`) and the two ways to carry a run's roles (`process.py`, `inline.py`) share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from speedyzero.config import Config
from speedyzero.supervisor.interrupts import Interrupts
from speedyzero.supervisor.keeper import RunKeeper
from speedyzero.supervisor.resume import OpenedRun, ResumedRun
from speedyzero.supervisor.run_profile import RunProfile
from speedyzero.topology.records import MetricRecord


@dataclass(frozen=True)
class Session:
    """One call of `train`. It starts the roles anew after the death of the learner group."""

    config: Config
    opened: OpenedRun
    keeper: RunKeeper
    interrupts: Interrupts
    profiler: RunProfile


class Roles(Protocol):
    """The roles of one start of a run."""

    @property
    def done(self) -> bool:
        """Whether the last train step is made."""
        ...

    @property
    def env_steps(self) -> int: ...

    @property
    def train_steps(self) -> int: ...

    def start(self) -> None: ...

    def step(self) -> None:
        """Step each role once, or check the processes and wait a moment. Raises if a role cannot be kept alive."""
        ...

    def metrics(self) -> Iterator[MetricRecord]:
        """All metrics received."""
        ...

    def limit(self) -> str:
        """The bottleneck of the last seconds, empty if unknown."""
        ...

    def follow(self) -> None:
        """Save, evaluate and record gauges, each when due."""
        ...

    def end(self) -> None:
        """Save the state and the weights of a run that is done or interrupted."""
        ...

    def close(self) -> None:
        """End all that is left, after an error too, and remove what lives as long as the roles."""
        ...


class Carrier(Protocol):
    """How the roles of a run are carried."""

    description: str  # "5 processes"
    raise_at: int  # interruptions that raise KeyboardInterrupt; 0: never

    def prepare(self) -> Config:
        """Print the layout; returns the settings, with those that depend on this machine chosen."""
        ...

    def roles(self, session: Session, resume: ResumedRun | None) -> Roles:
        """New roles, not started yet."""
        ...
