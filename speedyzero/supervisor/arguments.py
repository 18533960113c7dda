"""Arguments of `train`, also of a run that is resumed or resharded.

Checking imports heavy modules only once the arguments are valid, and creates nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from speedyzero.arguments.command_line import Action, Parser, parse, settings_first
from speedyzero.arguments.resolve import check_gpus, read_arguments, resolve
from speedyzero.checkpoint.found import check_unlocked, directory_to_resume, run_of
from speedyzero.config import Config, get
from speedyzero.config.documents import presets
from speedyzero.config.settings import SETTINGS, Given
from speedyzero.nodes.launch import Launch, die_with_agent, end_agent, launched
from speedyzero.runtime.fork_server import ForkServer
from speedyzero.supervisor.run_checks import check_game_of, check_new_directory, check_one_of_each, check_run
from speedyzero.system import stop_signals

if TYPE_CHECKING:
    from speedyzero.nodes.meeting import Meeting
    from speedyzero.supervisor.reshard import Reshard
    from speedyzero.supervisor.resume import ResumedRun


def _parser(prog: str) -> Parser:
    parser = Parser(prog=prog, allow_abbrev=False, description="Train an agent and score it.")
    parser.add_argument(
        "--game", help="an Atari game (Pong), a Gymnasium id (CartPole-v1), Catch, or your own: my_module:MyGame-v0"
    )
    parser.add_argument("--preset", help=f"{', '.join(presets())}; default: what suits the game and the machine")
    parser.add_argument("--seed", type=int, help="default: 0")
    parser.add_argument("--gpus", type=int, help="how many to use; 0 is the CPU; default: every visible one")
    parser.add_argument("--run-dir", help="a new or empty directory; default: runs/<game>-<preset>-seed<seed>-<number>")
    parser.add_argument("--inline", action="store_true", help="one process, bit-reproducible on a CPU")
    parser.add_argument("--resume", nargs="?", const="", metavar="DIR", help="continue a run or checkpoint")
    parser.add_argument("--force", action="append", default=[], metavar="SETTING", help="may differ in a resumed run")
    parser.add_argument(
        "--reshard",
        action="store_true",
        help="resume with other numbers of GPUs, actors, envs, shards, in a new directory",
    )
    parser.add_argument(
        "--profile", nargs="?", const="", metavar="SECONDS", help="write a trace; default: of the whole run"
    )
    parser.add_argument("settings", nargs="*", metavar="key=value", help="any setting, as search.num_simulations=16")
    return parser


def check(argv: Sequence[str], prog: str) -> Action:
    """The action of `train` for these arguments. Raises ValueError for bad input."""
    flags = parse(_parser(prog), settings_first(argv))
    profile = _profiled_seconds(flags.profile)
    launch = launched()
    die_with_agent()
    if launch.share.nodes > 1:
        return _check_node(launch, flags, profile)
    if flags.resume is not None:
        return _check_resume(flags, profile)
    config = _new_config(flags)
    if config.run_dir:
        check_new_directory(Path(config.run_dir))
    server = _begun_server(flags)
    check_run(config, inline=flags.inline, profiled=profile is not None)
    return lambda: _train(config, server, profile=profile)


def _new_config(flags: argparse.Namespace) -> Config:
    """The settings of a new run."""
    if flags.reshard:
        raise ValueError("--reshard: only --resume has something to reshard")
    if flags.force:
        raise ValueError(f"--force {flags.force[0]}: only --resume has something to force")
    config = resolve(flags.preset, flags.game, flags.seed, flags.gpus, flags.run_dir, flags.settings)
    return replace(config, env=replace(config.env, game=check_game_of(config).name))


def _check_node(launch: Launch, flags: argparse.Namespace, profile: float | None) -> Action:
    """As `check`, for one of several nodes. Node 0 creates the run's directory here, which all must see."""
    server = _fork_server()
    from speedyzero.checkpoint.manifest import checkpoint_dir
    from speedyzero.checkpoint.stored import open_checkpoint
    from speedyzero.nodes.meeting import Meeting
    from speedyzero.supervisor.reshard import carry_out, check_reshard
    from speedyzero.supervisor.resume import new_run_dir, resumed_config
    from speedyzero.supervisor.space import wire_where_it_fits

    meeting, share = Meeting(launch), launch.share
    source, reshards = meeting.decided("source", lambda: _source(flags, meeting))
    resumed = reshard = None
    try:
        if flags.inline:
            raise ValueError(f"--inline is one process, torchrun started {share.nodes} nodes: leave it out")
        if source:
            checkpoint, given = open_checkpoint(source), _given(flags, reshards=reshards)
            whole, resumed = resumed_config(
                checkpoint.run_dir, checkpoint, given, force=flags.force, reshard=reshards, share=share
            )
            check_gpus(Given(whole.gpus, f"{checkpoint.run_dir}: give --gpus"))
        else:
            whole = _new_config(flags)
        own = share.of(whole)
        try:
            if resumed is None:
                check_run(own, inline=False, profiled=profile is not None)
            else:
                wire_where_it_fits(own, profiled=profile is not None)
        except ValueError as error:
            raise ValueError(f"a node's share, 1/{share.nodes} of the run: {error}") from error
        if resumed is not None and reshards:
            reshard = check_reshard(whole, resumed, nodes=share.nodes)
    except ValueError as error:
        meeting.compare({}, str(error))
        raise  # not reached: that raised
    meeting.compare({path: get(whole, path) for path in SETTINGS})
    if reshard is not None:
        meeting.take_directory(lambda: carry_out(reshard)[1].run_dir)
        run_dir = share.shared_dir(meeting.run_dir)
        checkpoint = open_checkpoint(checkpoint_dir(run_dir, reshard.source.step))
        resumed = replace(reshard.source, run_dir=run_dir, checkpoint=checkpoint)
    else:
        meeting.take_directory(lambda: resumed.run_dir if resumed else new_run_dir(whole))
    if share.node == 0 and whole.gpus:
        print("note: GPUs of several machines (NCCL) are untested", flush=True)
    return lambda: _train_with_others(own, server, meeting, resume=resumed, profile=profile)


def _source(flags: argparse.Namespace, meeting: Meeting) -> tuple[str, bool]:
    """For node 0: the checkpoint that all nodes resume, empty in a new run; whether it is resharded.

    A run that torchrun starts again continues from its last checkpoint, whatever the arguments were at first.
    """
    from speedyzero.supervisor.resume import find_resumable

    named = flags.run_dir or (flags.resume and str(run_of(Path(flags.resume))))
    if named and meeting.has_begun(Path(named)):
        return str(find_resumable(Path(named))[1].directory.resolve()), False
    if flags.resume is None or flags.reshard:
        if not flags.run_dir:
            raise ValueError("--run-dir: name one, on a disk that all nodes share")
        check_new_directory(Path(flags.run_dir))
    if flags.resume is None:
        return "", False
    return str(find_resumable(_directory_to_resume(flags))[1].directory.resolve()), flags.reshard


def _begun_server(flags: argparse.Namespace) -> ForkServer | None:
    return None if flags.inline else _fork_server()


def _fork_server() -> ForkServer:
    """It imports while this process checks the rest."""
    return ForkServer(["speedyzero.supervisor.preload"])


def _profiled_seconds(window: str | None) -> float | None:
    """window: the value of `--profile`."""
    if window is None:
        return None
    from speedyzero.tracing.profile_window import parse_seconds

    return parse_seconds(window)


def _check_resume(flags: argparse.Namespace, profile: float | None) -> Action:
    given = _given(flags, reshards=flags.reshard)
    directory = _directory_to_resume(flags)
    server = _begun_server(flags)
    from speedyzero.supervisor.resume import find_resumable, resumed_config

    run_dir, checkpoint = find_resumable(directory)
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


def _directory_to_resume(flags: argparse.Namespace) -> Path:
    """The run or checkpoint, which nobody else must be writing unless it is only read."""
    where = flags.resume
    if not flags.reshard and where and flags.run_dir and Path(where).resolve() != Path(flags.run_dir).resolve():
        raise ValueError(f"--resume {where} --run-dir {flags.run_dir}: a run continues in its own directory; name one")
    directory = directory_to_resume(where or ("" if flags.reshard else flags.run_dir) or "")
    if not flags.reshard:
        check_unlocked(directory)
    return directory


def _given(flags: argparse.Namespace, *, reshards: bool) -> dict[str, Given]:
    """The settings that were typed, for a run to resume."""
    given = read_arguments(flags.game, flags.seed, flags.gpus, None, flags.settings)
    if "gpus" in given:
        check_gpus(given["gpus"])
    if flags.preset is not None:
        given["preset"] = Given(flags.preset, "--preset")
    if reshards and flags.run_dir:
        check_new_directory(Path(flags.run_dir))
        given["run_dir"] = Given(flags.run_dir, "--run-dir")
    return given


def _train(
    config: Config,
    server: ForkServer | None,
    *,
    resume: ResumedRun | None = None,
    profile: float | None = None,
) -> None:
    """server: of the run's processes; None: inline."""
    from speedyzero.supervisor.train import train

    with server or nullcontext():
        train(config, server, resume, profile=profile)


def _train_with_others(
    config: Config, server: ForkServer, meeting: Meeting, *, resume: ResumedRun | None, profile: float | None
) -> None:
    from speedyzero.nodes.watch import Watch
    from speedyzero.supervisor.crew import LearnerGroupDied, RunFailed
    from speedyzero.supervisor.train import train

    try:
        with Watch(meeting) as nodes, server:
            try:
                train(config, server, resume, profile=profile, nodes=nodes)
            except LearnerGroupDied:
                stop_signals.ignore()  # torchrun's, which is starting all again
                raise
            except KeyboardInterrupt:
                if failed := nodes.end():  # that was torchrun, for the same reason
                    stop_signals.ignore()
                    raise LearnerGroupDied(failed) from None
                raise
    except LearnerGroupDied:
        raise  # torchrun may start all anew
    except RunFailed:
        end_agent()
        raise


def _train_resharded(reshard: Reshard, server: ForkServer | None, *, profile: float | None) -> None:
    from speedyzero.supervisor.reshard import carry_out

    config, resumed = carry_out(reshard)
    _train(config, server, resume=resumed, profile=profile)
