"""Arguments of `python -m speedyzero plan`: the run to predict, the hardware and the costs."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from speedyzero.arguments.command_line import Parser, parse
from speedyzero.arguments.resolve import read_arguments, resolve
from speedyzero.config import Config
from speedyzero.config.documents import override, presets
from speedyzero.plan.chips import CHIPS

COSTS = tuple(
    "search_s value_s sample_s refresh_s host_env_step_s host_batch_s sync_s search_call_s train_step_s".split()
)
CORES_PER_GPU = 16  # assumed for another machine with GPUs


@dataclass(frozen=True)
class Planned:
    """A run to be predicted."""

    config: Config
    gpu: str  # a name of CHIPS; empty: this machine's CPU
    entered: Mapping[str, float]  # costs given by the user
    cores: int  # available to the run
    checked: tuple[Path, ...]  # finished runs to compare with


def planned_of(flags: argparse.Namespace) -> Planned:
    """Raises ValueError, one line, for invalid arguments."""
    for run_dir in flags.check:
        if not (run_dir / "config.yaml").exists():
            raise ValueError(f"--check {run_dir}: not the directory of a run")
    return Planned(planned_config(flags), flags.gpu, read_costs(flags.cost), cores_of(flags), tuple(flags.check))


def check(argv: Sequence[str], prog: str) -> Callable[[], None]:
    """The action of `plan` for these arguments. Raises ValueError for bad input."""
    parser = Parser(prog=prog, allow_abbrev=False, description="Predict how long a run will take, and what limits it.")
    add_arguments(parser)
    planned = planned_of(parse(parser, argv))

    def carry_out() -> None:
        from speedyzero.plan.command import plan

        plan(planned)

    return carry_out


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--game", help="as for train; default: Pong")
    parser.add_argument("--preset", help=f"{', '.join(presets())}; default: what suits the game and the machine")
    parser.add_argument("--gpus", type=int, default=0, help="as many as the run would use, here or elsewhere")
    parser.add_argument("--gpu", default="", metavar="NAME", help=f"{', '.join(CHIPS)}: which; needed with --gpus")
    parser.add_argument("--cores", type=int, help=f"default: this machine's, or {CORES_PER_GPU} for each GPU")
    parser.add_argument("--cost", nargs="+", default=[], metavar="NAME=SECONDS", help="instead of an estimate")
    parser.add_argument(
        "--check", nargs="+", type=Path, default=[], metavar="RUN_DIR", help="runs made here on the CPU"
    )
    parser.add_argument("settings", nargs="*", metavar="key=value", help="as for train")


def planned_config(flags: argparse.Namespace) -> Config:
    """The settings of the run; its GPUs need not exist. Raises ValueError, one line, for invalid arguments."""
    if flags.gpus < 0:
        raise ValueError(f"--gpus {flags.gpus}: must be 0 or more")
    if bool(flags.gpus) != bool(flags.gpu):
        raise ValueError(
            f"--gpus {flags.gpus} --gpu {flags.gpu or '(none)'}: give both, or neither for the processor here"
        )
    if flags.gpu and flags.gpu not in CHIPS:
        raise ValueError(f"--gpu {flags.gpu}: figures are there for {', '.join(CHIPS)}")
    if flags.cores is not None and flags.cores < 1:
        raise ValueError(f"--cores {flags.cores}: must be 1 or more")
    preset = flags.preset or ("speedyzero" if flags.gpus else None)
    config = resolve(preset, flags.game, None, 0, None, [word for word in flags.settings if word.startswith("env.")])
    return override(config, read_arguments(None, None, flags.gpus, None, flags.settings))


def cores_of(flags: argparse.Namespace) -> int:
    return flags.cores or (CORES_PER_GPU * flags.gpus if flags.gpus else len(os.sched_getaffinity(0)))


def read_costs(words: Sequence[str]) -> dict[str, float]:
    """Parses `search_s=1e-5` and the like. Raises ValueError if the value is not a number of seconds."""
    entered = {}
    for word in words:
        name, _, value = word.partition("=")
        try:
            entered[name] = float(value)
        except ValueError:
            raise ValueError(f"--cost {word}: write it as NAME=SECONDS") from None
        if not 0.0 <= entered[name] < float("inf"):
            raise ValueError(f"--cost {word}: must be 0 or more")
        if name not in COSTS:
            raise ValueError(f"--cost {name}: there are {', '.join(COSTS)}")
    return entered
