"""`python -m speedyzero doctor`: whether a run can start here, one line per check.

    ok       driver          NVIDIA 580.65
    wrong    shared memory   /dev/shm has 64.0 MiB free, Pong (speedyzero) takes 912.4 MiB
             fix             sudo mount -o remount,size=913m /dev/shm ...

Changes nothing. Exit code: 0 if a run can start, warnings or not, 1 if it cannot, 2 for invalid arguments. Arguments
and defaults are those of `train`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from speedyzero.arguments.command_line import Parser, parse
from speedyzero.arguments.resolve import resolve
from speedyzero.config import Config
from speedyzero.config.documents import presets
from speedyzero.doctor.checks_software import software_findings
from speedyzero.doctor.checks_system import system_findings
from speedyzero.doctor.finding import WARNING, WRONG, Finding, wrong
from speedyzero.doctor.machine import Machine, Torch
from speedyzero.doctor.need import Need, need_of
from speedyzero.doctor.readings import read_machine, read_torch

CANNOT_START = 1


def check(argv: Sequence[str], prog: str) -> Callable[[], None]:
    """The action of `doctor` for these arguments. Raises ValueError for bad input."""
    flags = parse(_parser(prog), argv)
    torch = read_torch()  # determines how many GPUs the run would use
    gpus = len(torch.gpus) if flags.gpus is None else flags.gpus
    if gpus < 0:
        raise ValueError(f"--gpus {gpus}: must be 0 or more")
    config = None
    if not torch.error:
        usable = min(gpus, len(torch.gpus))  # too few are a finding, not bad input
        config = resolve(flags.preset, flags.game, None, usable, flags.run_dir, flags.settings)
    return lambda: examine(config, torch, gpus=gpus)


def examine(config: Config | None, torch: Torch, *, gpus: int) -> None:
    """Print every finding. config: None if torch is broken. Raises SystemExit(1) if a run cannot start."""
    run = config or Config()
    machine = read_machine(torch=torch, run_dir=run.run_dir, shm_dir=run.shm_dir)
    findings = findings_of(machine, config, gpus=gpus)
    for finding in findings:
        print(f"{finding.status:8} {finding.check:14} {finding.what}")
        if finding.mend:
            print(f"{'':8} {'fix':14} {finding.mend}")
    count = {status: sum(finding.status == status for finding in findings) for status in (WARNING, WRONG)}
    if count[WRONG]:
        print(f"a run cannot start: {count[WRONG]} wrong, {_warnings(count[WARNING])}")
        raise SystemExit(CANNOT_START)
    print(f"a run can start: {_warnings(count[WARNING])}")


def findings_of(machine: Machine, config: Config | None, *, gpus: int) -> list[Finding]:
    """The findings of all checks, in display order."""
    # Importing a broken emulator may raise anything; no run of any game starts without it.
    need, refusal = _need_of(config) if machine.rom_errors is not None else (None, "")
    game = need.game if need is not None else _game_of(config or Config(), machine)
    findings = [
        *software_findings(machine, need, gpus=gpus, game=game),
        *system_findings(machine, need, gpus=gpus),
    ]
    if refusal and all(finding.status != WRONG for finding in findings):
        findings.append(wrong("the run", refusal, "other settings"))
    return findings


def _need_of(config: Config | None) -> tuple[Need | None, str]:
    """The run's need, or why the run would be refused."""
    if config is None:
        return None, ""
    try:
        return need_of(config), ""
    except (ValueError, ImportError, OSError) as error:
        return None, " ".join(str(error).split())


def _game_of(config: Config, machine: Machine) -> str:
    """The game's name in the ROM list, or as configured if it is not listed."""
    wanted = config.env.game.replace("_", "").lower()
    return next((name for name in machine.rom_errors or () if name.lower() == wanted), config.env.game)


def _warnings(count: int) -> str:
    return f"{count} warning{'' if count == 1 else 's'}" if count else "no warnings"


def _parser(prog: str) -> Parser:
    parser = Parser(prog=prog, allow_abbrev=False, description="Check whether a run can start here, with fixes.")
    parser.add_argument("--game", help="of the run to check; all arguments as for train")
    parser.add_argument("--preset", help=", ".join(presets()))
    parser.add_argument("--gpus", type=int, help="default: all that torch can use")
    parser.add_argument("--run-dir")
    parser.add_argument("settings", nargs="*", metavar="key=value")
    return parser
