"""The command line: `train` and the commands that inspect, compare and predict runs.

A command is checked, then executed. Checking reads the arguments, imports heavy modules only once they are valid, and
creates nothing; a ValueError there is bad input. An exception during execution is a fault and keeps its traceback. Exit
codes: 0 done, 2 bad input (one line), 1 a fault, 130 interrupted.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from speedyzero.arguments.command_line import check_writable, parse
from speedyzero.arguments.parsers import ablate_parser, atari100k_parser, evaluate_parser, train_parser
from speedyzero.arguments.resolve import check_gpus, read_arguments, resolve
from speedyzero.checkpoint.found import check_unlocked, directory_to_resume
from speedyzero.config import Config
from speedyzero.config.settings import Given, near
from speedyzero.env.atari_ids import spelled_out
from speedyzero.runtime.fork_server import ForkServer
from speedyzero.supervisor.run_checks import (
    check_drawable,
    check_game_of,
    check_new_directory,
    check_one_of_each,
    check_run,
)
from speedyzero.system import stop_signals

if TYPE_CHECKING:
    from speedyzero.supervisor.reshard import Reshard
    from speedyzero.supervisor.resume import ResumedRun
    from speedyzero.tracing.profile_window import ProfileRequest

DONE, BAD_INPUT, INTERRUPTED = 0, 2, 130
VIDEO_SUFFIXES = (".mp4", ".gif")

_Action = Callable[[], object]


def main() -> int:
    """`python -m speedyzero COMMAND ...`; the exit code."""
    return run(check_command, sys.argv[1:], prog="python -m speedyzero")


def run(check: Callable[[Sequence[str], str], _Action], argv: Sequence[str], *, prog: str) -> int:
    """Check the arguments, then execute the command; returns the exit code. prog: the program's name, for messages.

    After an interrupt further signals are ignored: only the exit is left, which takes torch half a second.
    """
    _print_anything()
    try:
        stop_signals.let_in()
        try:
            action = check(argv, prog)
        except ValueError as error:
            print(f"{prog}: {error}", file=sys.stderr)
            return BAD_INPUT
        action()
    except KeyboardInterrupt:
        stop_signals.ignore()
        print(f"{prog}: interrupted", file=sys.stderr)
        return INTERRUPTED
    return DONE


def _print_anything() -> None:
    """Print characters that the terminal's encoding lacks as escapes, here and in the processes of a run."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    os.environ.setdefault("PYTHONIOENCODING", ":backslashreplace")


def check_command(argv: Sequence[str], prog: str) -> _Action:
    """The action of a command with these arguments, as of each `check_*` here. Raises ValueError for bad input."""
    commands = {
        "train": check_train,
        "evaluate": check_evaluate,
        "ablate": check_ablate,
        "atari100k": check_atari100k,
        "plan": check_plan,
        "doctor": check_doctor,
        "report": check_report,
        "profile": check_profile,
    }
    if not argv:
        raise ValueError(f"a command is needed: {' or '.join(commands)}; --help shows more")
    if argv[0] in ("-h", "--help"):
        return lambda: print(f"usage: {prog} {{{','.join(commands)}}} ...; {prog} COMMAND --help shows more")
    if argv[0] not in commands:
        raise ValueError(f"unknown command {argv[0]}{near(argv[0], commands)}; there are {', '.join(commands)}")
    return commands[argv[0]](argv[1:], f"{prog} {argv[0]}")


def check_train(argv: Sequence[str], prog: str) -> _Action:
    flags = parse(train_parser(prog), argv)
    profile = _profile_request(flags)
    if flags.resume is not None:
        return _check_resume(flags, profile)
    if flags.reshard:
        raise ValueError("--reshard: only --resume has something to reshard")
    if flags.force:
        raise ValueError(f"--force {flags.force[0]}: only --resume has something to force")
    config = resolve(flags.preset, flags.game, flags.seed, flags.gpus, flags.run_dir, flags.settings)
    if config.run_dir:
        check_new_directory(Path(config.run_dir))
    game = check_game_of(config)
    config = replace(config, env=replace(config.env, game=game.name))
    server = _begun_server(flags)
    check_run(config, inline=flags.inline, profiled=profile is not None)
    return lambda: _train(config, server, profile=profile)


def _begun_server(flags: argparse.Namespace) -> ForkServer | None:
    """The fork server of a run, which imports while this process checks the rest."""
    return None if flags.inline else ForkServer(["speedyzero.supervisor.preload"])


def _profile_request(flags: argparse.Namespace) -> ProfileRequest | None:
    """The value of `--profile`; a setting that argparse took for its seconds is moved back to the settings."""
    window = flags.profile
    if window is None:
        return None
    from speedyzero.tracing.profile_window import ProfileRequest

    if "=" in window:
        flags.settings = [window, *flags.settings]
        window = ""
    return ProfileRequest.parse(window)


def _check_resume(flags: argparse.Namespace, profile: ProfileRequest | None) -> _Action:
    where, settings = flags.resume, list(flags.settings)
    if "=" in where and not Path(where).exists():  # the first setting, which argparse took for the directory
        where, settings = "", [where, *settings]
    given = read_arguments(flags.game, flags.seed, flags.gpus, None, settings)
    if "gpus" in given:
        check_gpus(given["gpus"])
    if not flags.reshard and where and flags.run_dir and Path(where).resolve() != Path(flags.run_dir).resolve():
        raise ValueError(f"--resume {where} --run-dir {flags.run_dir}: a run goes on in its own directory; name one")
    directory = directory_to_resume(where or ("" if flags.reshard else flags.run_dir) or "")
    if not flags.reshard:
        check_unlocked(directory)
    server = _begun_server(flags)
    from speedyzero.supervisor.resume import find_resumable, resumed_config

    run_dir, checkpoint = find_resumable(directory)
    if flags.preset is not None:
        given["preset"] = Given(flags.preset, "--preset")
    if flags.reshard and flags.run_dir:
        check_new_directory(Path(flags.run_dir))
        given["run_dir"] = Given(flags.run_dir, "--run-dir")
    config, resumed = resumed_config(run_dir, checkpoint, given, force=flags.force, reshard=flags.reshard)
    check_gpus(Given(config.gpus, f"{run_dir}: give --gpus"))
    if flags.inline:
        check_one_of_each(config)
    else:
        from speedyzero.supervisor.space import wire_where_it_fits

        wire_where_it_fits(config, profiled=profile is not None)
    if flags.reshard:
        from speedyzero.supervisor.reshard import check_reshard

        reshard = check_reshard(config, resumed)
        return lambda: _train_resharded(reshard, server, profile=profile)
    return lambda: _train(config, server, resume=resumed, profile=profile)


def check_evaluate(argv: Sequence[str], prog: str) -> _Action:
    flags = parse(evaluate_parser(prog), argv)
    run_dir, video = Path(flags.run_dir), flags.video
    if flags.episodes is not None and flags.episodes < 1:
        raise ValueError(f"--episodes {flags.episodes}: must be 1 or more")
    if video is not None:
        if video.suffix not in VIDEO_SUFFIXES:
            raise ValueError(f"--video {video}: must end in {' or '.join(VIDEO_SUFFIXES)}")
        check_writable(video.parent, f"--video {video}")
    if flags.seed < 0:
        raise ValueError(f"--seed {flags.seed}: must be 0 or more")
    from speedyzero.env.registry import try_game
    from speedyzero.evaluate.command import load_agent
    from speedyzero.evaluate.source import find_source

    source = find_source(run_dir, game=flags.game)
    config = source.config
    try_game(config.env)
    if video is not None:
        check_drawable(config, f"--video {video}")
    load_agent(config, source.weights)
    episodes = config.evaluate.episodes if flags.episodes is None else flags.episodes
    return lambda: _evaluate(run_dir, episodes, video, flags.action, flags.blind, flags.seed)


def check_ablate(argv: Sequence[str], prog: str) -> _Action:
    flags = parse(ablate_parser(prog), argv)
    for name in ("seeds", "jobs"):
        count = getattr(flags, name)
        if count is not None and count < 1:
            raise ValueError(f"--{name} {count}: must be 1 or more")
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


def check_plan(argv: Sequence[str], prog: str) -> _Action:
    from speedyzero.plan import arguments as plan_arguments

    return plan_arguments.check_plan(argv, prog)


def check_doctor(argv: Sequence[str], prog: str) -> _Action:
    from speedyzero.doctor import command

    return command.check_doctor(argv, prog)


def check_report(argv: Sequence[str], prog: str) -> _Action:
    from speedyzero.report import command

    return command.check_report(argv, prog)


def check_atari100k(argv: Sequence[str], prog: str) -> _Action:
    flags = parse(atari100k_parser(prog), argv)
    for name in ("seeds", "jobs"):
        count = getattr(flags, name)
        if count is not None and count < 1:
            raise ValueError(f"--{name} {count}: must be 1 or more")
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
    for run in folder.plan.runs[: len(games) - len(folder.plan.refused)]:
        check_game_of(run.config)
        check_run(run.config, inline=flags.inline)
    return folder.carry_out


def check_profile(argv: Sequence[str], prog: str) -> _Action:
    from speedyzero.profile import command

    return command.check_profile(argv, prog)


def _train(
    config: Config,
    server: ForkServer | None,
    *,
    resume: ResumedRun | None = None,
    profile: ProfileRequest | None = None,
) -> None:
    """server: of the run's processes; None: inline."""
    if server is None:
        from speedyzero.supervisor.inline import train as train_inline

        train_inline(config, resume, profile=profile)
    else:
        from speedyzero.supervisor.process import train

        with server:
            train(config, server, resume, profile=profile)


def _train_resharded(reshard: Reshard, server: ForkServer | None, *, profile: ProfileRequest | None) -> None:
    from speedyzero.supervisor.reshard import carry_out

    config, resumed = carry_out(reshard)
    _train(config, server, resume=resumed, profile=profile)


def _evaluate(run_dir: Path, episodes: int, video: Path | None, action: str | None, blind: bool, seed: int) -> None:
    from speedyzero.evaluate.command import evaluate_run

    evaluate_run(run_dir, episodes, video, action=action, blind=blind, seed=seed)
