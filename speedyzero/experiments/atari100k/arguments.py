"""Arguments of `atari100k`."""

from collections.abc import Sequence
from pathlib import Path

from speedyzero.arguments.command_line import Action, Parser, at_least, check_writable, parse
from speedyzero.supervisor.run_checks import check_game_of, check_run


def _parser(prog: str) -> Parser:
    parser = Parser(prog=prog, allow_abbrev=False, description="The 26 games of Atari 100k, over seeds.")
    parser.add_argument("--games", nargs="+", metavar="GAME", help="some of the 26 (Pong Breakout); default: all")
    parser.add_argument("--seeds", type=at_least(1), default=5, metavar="N", help="0 to N - 1; default: 5")
    parser.add_argument("--preset", default="atari100k", help="as for train; default: atari100k")
    parser.add_argument("--gpus", type=int, help="for each run, 0 is the CPU; default: 1 if there is one")
    parser.add_argument("--jobs", type=at_least(1), metavar="N", help="at a time; default: all that GPUs allow, CPU: 1")
    parser.add_argument("--inline", action="store_true", help="each run in one process")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: runs/atari100k-<preset>; the same to resume")
    parser.add_argument("settings", nargs="*", metavar="key=value", help="for all runs")
    return parser


def check(argv: Sequence[str], prog: str) -> Action:
    """The action of `atari100k` for these arguments. Raises ValueError for bad input."""
    flags = parse(_parser(prog), argv)
    from speedyzero.experiments.atari100k.plan import Benchmark, read_games

    games, settings = read_games(flags.games)
    benchmark = Benchmark(
        games=games,
        seeds=tuple(range(flags.seeds)),
        preset=flags.preset,
        gpus=flags.gpus,
        settings=(*settings, *flags.settings),
        inline=flags.inline,
    )
    out = flags.out or Path("runs") / f"atari100k-{flags.preset}"
    check_writable(out, f"--out {out}")
    from speedyzero.experiments.atari100k.command import BenchmarkFolder

    folder = BenchmarkFolder(benchmark, out, jobs=flags.jobs)
    for run in folder.runs[: len(games)]:
        check_game_of(run.config)
        check_run(run.config, inline=flags.inline)
    return folder.carry_out
