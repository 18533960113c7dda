"""A training run with one role slowed down, for benchmarks of profiling: production code has no such switch.

    python -m benchmarks.slowed_run ROLE sleep|load SECONDS  train's words ...

Every step of the role that makes progress is followed by that much sleep, or by as long a fight for a core. The crew is
told to start a process of this module instead of the role's own; the rest of the run is as it is.
"""

from __future__ import annotations

import os
import sys
import time
from types import SimpleNamespace
from typing import Any

ROLES = ("actor", "reanalyzer", "learner")
KINDS = ("none", "sleep", "load")
_HOW = "SPEEDYZERO_BENCH_SLOW"  # inherited by the role's process: "sleep 0.2"


def slow_step(step):
    """A role's `step` with the slowdown that the environment names."""
    kind, _, seconds = os.environ[_HOW].partition(" ")
    pause_s = float(seconds)

    def slowed(self) -> bool:
        moved = step(self)
        if moved and kind == "sleep":
            time.sleep(pause_s)
        elif moved and kind == "load":
            started_s = time.monotonic()
            while time.monotonic() - started_s < pause_s:
                pass
        return moved

    return slowed


def actor(spec: Any, index: int) -> None:
    from speedyzero.actor import actor as module
    from speedyzero.actor.process import main

    module.Actor.step = slow_step(module.Actor.step)
    main(spec, index)


def reanalyzer(spec: Any, index: int) -> None:
    from speedyzero.reanalyze import reanalyzer as module
    from speedyzero.reanalyze.process import main

    module.Reanalyzer.step = slow_step(module.Reanalyzer.step)
    main(spec, index)


def learner(spec: Any, rank: int) -> None:
    from speedyzero.learner import learner as module
    from speedyzero.learner.process import main

    module.Learner.step = slow_step(module.Learner.step)
    main(spec, rank)


def run_slowed(role: str, kind: str, seconds: str, words: list[str]) -> int:
    """The exit code of the run."""
    from benchmarks import slowed_run  # by its name, not as __main__: the children import it
    from speedyzero import cli
    from speedyzero.supervisor import crew

    if kind != "none":
        os.environ[_HOW] = f"{kind} {seconds}"
        module = {"actor": "actor_process", "reanalyzer": "reanalyze_process", "learner": "learner_process"}[role]
        setattr(crew, module, SimpleNamespace(main=getattr(slowed_run, role)))
    return cli.run(cli.check_train, words, prog="slowed_run")


if __name__ == "__main__":
    sys.exit(run_slowed(*sys.argv[1:4], sys.argv[4:]))
