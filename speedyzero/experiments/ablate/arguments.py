"""Arguments of `ablate`."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from speedyzero.arguments.command_line import Action, Parser, at_least, check_writable, parse
from speedyzero.env.atari_ids import spelled_out
from speedyzero.supervisor.run_checks import check_game_of, check_run

GRIDS = ("one-at-a-time", "full")


def _parser(prog: str) -> Parser:
    parser = Parser(prog=prog, allow_abbrev=False, description="Compare runs that differ in one part, over seeds.")
    parser.add_argument("--game", help="as for train")
    parser.add_argument("--preset", help="as for train")
    parser.add_argument("--gpus", type=int, help="for each run; runs that fit go side by side")
    parser.add_argument("--seeds", type=at_least(1), default=5, metavar="N", help="0 to N - 1; default: 5")
    parser.add_argument(
        "--vary",
        nargs="+",
        required=True,
        metavar="key[=value,...]",
        help="what to compare; without values: a switch's both, a choice's all",
    )
    parser.add_argument(
        "--grid", choices=GRIDS, default=GRIDS[0], help="from the preset one change at a time, or all combinations"
    )
    parser.add_argument("--jobs", type=at_least(1), metavar="N", help="runs at a time; default: as many as fit")
    parser.add_argument("--inline", action="store_true", help="each run in one process")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="new, or of the same ablation to continue"
    )
    parser.add_argument("settings", nargs="*", metavar="key=value", help="for all runs")
    return parser


def check(argv: Sequence[str], prog: str) -> Action:
    """The action of `ablate` for these arguments. Raises ValueError for bad input."""
    flags = parse(_parser(prog), argv)
    check_writable(flags.out, f"--out {flags.out}")
    from speedyzero.experiments.ablate.plan import Ablation, arms_of, read_factors

    factors, settings = read_factors(flags.vary)
    if not factors:
        raise ValueError(
            "--vary: name a switch, a choice, or a setting with two values or more, as optimizer.clip=1,10"
        )
    game, implied = spelled_out(flags.game)
    shared = Ablation(
        arms=(),
        seeds=tuple(range(flags.seeds)),
        game=game,
        preset=flags.preset,
        gpus=flags.gpus,
        settings=(*implied, *flags.settings, *settings),
        inline=flags.inline,
    )
    ablation = replace(shared, arms=arms_of(shared, factors, grid=flags.grid))
    from speedyzero.experiments.ablate.command import AblationFolder

    folder = AblationFolder(ablation, flags.out, jobs=flags.jobs)
    for run in folder.runs[: len(ablation.arms)]:
        check_game_of(run.config)
        check_run(run.config, inline=flags.inline)
    return folder.carry_out
