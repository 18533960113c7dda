"""Arguments of `python -m speedyzero plan`: the run to predict, the hardware and the costs."""

import argparse
import os
from collections.abc import Sequence
from dataclasses import fields

from speedyzero.arguments.command_line import Action, Parser, at_least, parse
from speedyzero.arguments.resolve import read_arguments, resolve
from speedyzero.config import Config
from speedyzero.config.documents import override, presets
from speedyzero.config.placement import place
from speedyzero.env.registry import check_game
from speedyzero.nodes.share import Share
from speedyzero.plan.chips import CHIPS

CORES_PER_GPU = 16  # assumed for another machine with GPUs
NETWORK_GBIT_PER_S = 10.0  # assumed between nodes


def _parser(prog: str) -> Parser:
    parser = Parser(prog=prog, allow_abbrev=False, description="Predict how long a run will take, and what limits it.")
    parser.add_argument("--game", help="as for train; default: Pong")
    parser.add_argument("--preset", help=f"{', '.join(presets())}; default: what suits the game and the machine")
    parser.add_argument("--gpus", type=at_least(0), default=0, help="as many as the run would use, here or elsewhere")
    parser.add_argument("--gpu", default="", metavar="NAME", help=f"{', '.join(CHIPS)}: which; needed with --gpus")
    parser.add_argument("--cores", type=at_least(1), help=f"default: this machine's, or {CORES_PER_GPU} for each GPU")
    parser.add_argument("--nodes", type=at_least(1), default=1, help="machines that share the run; all else is of each")
    parser.add_argument(
        "--network", type=float, default=NETWORK_GBIT_PER_S, metavar="GBIT/S", help="between them; default: %(default)g"
    )
    parser.add_argument("--cost", nargs="+", default=[], metavar="NAME=SECONDS", help="instead of an estimate")
    parser.add_argument("settings", nargs="*", metavar="key=value", help="as for train")
    return parser


def check(argv: Sequence[str], prog: str) -> Action:
    """The action of `plan` for these arguments. Raises ValueError for bad input."""
    flags = parse(_parser(prog), argv)
    config, entered = planned_config(flags), read_costs(flags.cost)
    cores = flags.cores or CORES_PER_GPU * flags.gpus or len(os.sched_getaffinity(0))

    def carry_out() -> None:
        from speedyzero.plan.command import plan

        plan(config, flags.gpu, entered, cores=cores, nodes=flags.nodes, gbit_per_s=flags.network)

    return carry_out


def planned_config(flags: argparse.Namespace) -> Config:
    """A node's settings; its GPUs need not exist. Raises ValueError, one line, for invalid arguments."""
    if bool(flags.gpus) != bool(flags.gpu):
        raise ValueError(
            f"--gpus {flags.gpus} --gpu {flags.gpu or '(none)'}: give both, or neither for the processor here"
        )
    if flags.gpu and flags.gpu not in CHIPS:
        raise ValueError(f"--gpu {flags.gpu}: figures are there for {', '.join(CHIPS)}")
    if not flags.network > 0:
        raise ValueError(f"--network {flags.network:g}: must be above 0 Gbit/s")
    preset = flags.preset or ("speedyzero" if flags.gpus else None)
    config = resolve(preset, flags.game, None, 0, None, [word for word in flags.settings if word.startswith("env.")])
    whole = override(config, read_arguments(None, None, flags.gpus, None, flags.settings))
    own = Share(0, flags.nodes).of(whole)
    place(own)
    check_game(own.env)
    return own


def read_costs(words: Sequence[str]) -> dict[str, float]:
    """Parses `search_s=1e-5` and the like. Raises ValueError for an unknown cost or no number of seconds."""
    entered = {}
    for word in words:
        from speedyzero.plan.costs import Costs  # brings torch with it

        known = [field.name for field in fields(Costs) if field.name != "source"]
        name, _, value = word.partition("=")
        if name not in known:
            raise ValueError(f"--cost {name}: there are {', '.join(known)}")
        try:
            entered[name] = float(value)
        except ValueError:
            raise ValueError(f"--cost {word}: write it as NAME=SECONDS") from None
        if not 0.0 <= entered[name] < float("inf"):
            raise ValueError(f"--cost {word}: must be 0 or more")
    return entered
