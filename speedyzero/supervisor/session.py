"""What the training loop (`train.py`) and the two ways to carry a run's roles (`process.py`, `inline.py`) share."""

from dataclasses import dataclass

from speedyzero.config import Config
from speedyzero.supervisor.interrupts import Interrupts
from speedyzero.supervisor.keeper import RunKeeper
from speedyzero.supervisor.resume import OpenedRun
from speedyzero.supervisor.run_profile import RunProfile


@dataclass(frozen=True)
class Session:
    """One call of `train`. It starts the roles anew after the death of the learner group."""

    config: Config
    opened: OpenedRun
    keeper: RunKeeper
    interrupts: Interrupts
    profiler: RunProfile
