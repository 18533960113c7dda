"""`python -m speedyzero doctor`: whether a run can start here, one line per check.

    ok       torch           2.13.0, for CUDA 13.0
    wrong    GPUs            2 are asked for, torch sees 1
             fix             --gpus 1 ...

Changes nothing. Exit code: 0 if a run can start, warnings or not, 1 if it cannot, 2 for invalid arguments. Arguments
and defaults are those of `train`.
"""

from collections.abc import Callable, Sequence

from speedyzero.arguments.command_line import Parser, at_least, parse
from speedyzero.arguments.resolve import resolve
from speedyzero.config import Config
from speedyzero.config.documents import presets
from speedyzero.doctor import readings
from speedyzero.doctor.checks_nodes import node_findings
from speedyzero.doctor.checks_software import software_findings
from speedyzero.doctor.checks_system import system_findings
from speedyzero.doctor.finding import WARNING, WRONG, Finding, wrong
from speedyzero.doctor.readings import Torch

CANNOT_START = 1


def check(argv: Sequence[str], prog: str) -> Callable[[], None]:
    """The action of `doctor` for these arguments. Raises ValueError for bad input."""
    parser = Parser(prog=prog, allow_abbrev=False, description="Check whether a run can start here, with fixes.")
    parser.add_argument("--game", help="of the run to check; all arguments as for train")
    parser.add_argument("--preset", help=", ".join(presets()))
    parser.add_argument("--gpus", type=at_least(0), help="default: all that torch can use")
    parser.add_argument("--run-dir")
    parser.add_argument("--nodes", type=int, default=1, help="machines that are to share a run, of which this is one")
    parser.add_argument("settings", nargs="*", metavar="key=value")
    flags = parse(parser, argv)
    torch = readings.read_torch()  # determines how many GPUs the run would use
    gpus = len(torch.gpus) if flags.gpus is None else flags.gpus
    config = None
    if not torch.error:
        usable = min(gpus, len(torch.gpus))  # too few are a finding, not bad input
        config = resolve(flags.preset, flags.game, None, usable, flags.run_dir, flags.settings)
    return lambda: examine(config, torch, gpus=gpus, nodes=flags.nodes)


def examine(config: Config | None, torch: Torch, *, gpus: int, nodes: int = 1) -> None:
    """Print every finding. config: None if torch is broken. Raises SystemExit(1) if a run cannot start."""
    findings = [*findings_of(config, torch, gpus=gpus), *(node_findings() if nodes > 1 else ())]
    for finding in findings:
        print(f"{finding.status:8} {finding.check:14} {finding.what}")
        if finding.fix:
            print(f"{'':8} {'fix':14} {finding.fix}")
    wrongs, warnings = (sum(finding.status == status for finding in findings) for status in (WRONG, WARNING))
    also = f"{warnings or 'no'} warning{'' if warnings == 1 else 's'}"
    if wrongs:
        print(f"a run cannot start: {wrongs} wrong, {also}")
        raise SystemExit(CANNOT_START)
    print(f"a run can start: {also}")


def findings_of(config: Config | None, torch: Torch, *, gpus: int) -> list[Finding]:
    """The findings of all checks, in display order."""
    rom_errors = readings.rom_errors()
    # Importing a broken emulator may raise anything; no run of any game starts without it.
    refusal = _refusal(config) if config is not None and rom_errors is not None else ""
    findings = [
        *software_findings(torch, gpus=gpus, rom_errors=rom_errors, refusal=refusal),
        *system_findings(config or Config(), gpus=min(gpus, len(torch.gpus))),
    ]
    if refusal and all(finding.status != WRONG for finding in findings):
        what, _, fix = refusal.rpartition(": ")
        findings.append(wrong("the run", what or refusal, fix if what else "other settings, or another machine"))
    return findings


def _refusal(config: Config) -> str:
    """Why the run would be refused at its start, in one line; empty if it would not."""
    from speedyzero.supervisor.space import wire_if_it_fits

    try:
        wire_if_it_fits(config)
        return ""
    except (ValueError, ImportError, OSError) as error:
        return " ".join(str(error).split())
