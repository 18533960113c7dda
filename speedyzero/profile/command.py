"""`python -m speedyzero profile RUN_DIR`: reads a run's trace and prints its bottleneck and what the run waited for."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from speedyzero.arguments.command_line import Parser, parse
from speedyzero.profile.critical_path import HAND_OVER
from speedyzero.profile.diagnosis import Diagnosis, diagnose
from speedyzero.profile.shares import SLEEP, Shares, shares_in_turns
from speedyzero.tracing.trace import TRACE_FILE, Trace, read_trace


def check(argv: Sequence[str], prog: str) -> Callable[[], None]:
    """The action of `profile` for these arguments. Raises ValueError for bad input, including a damaged trace."""
    parser = Parser(prog=prog, allow_abbrev=False, description="Show what a profiled run waited for.")
    parser.add_argument("run_dir", metavar="RUN_DIR", type=Path, help="of a run with --profile")
    run_dir = parse(parser, argv).run_dir
    trace, diagnosis = load(run_dir)
    return lambda: print(report(trace, diagnosis, run_dir))


def load(run_dir: Path) -> tuple[Trace, Diagnosis]:
    """A run's newest trace. Raises ValueError, one line, if there is none or it is empty."""
    path = run_dir / TRACE_FILE
    if not run_dir.is_dir():
        raise ValueError(f"{run_dir}: there is no such directory")
    if not path.is_file():
        raise ValueError(f"{run_dir} has no {TRACE_FILE}: take a profile with train.py ... --profile 30")
    trace = read_trace(path)
    try:
        return trace, diagnose(trace)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def report(trace: Trace, diagnosis: Diagnosis, run_dir: Path) -> str:
    """The command's output. Its first line names the bottleneck."""
    blocks = [
        [diagnosis.sentence, *diagnosis.remarks],
        _head(trace, diagnosis, run_dir),
        list(_process_lines(trace, diagnosis)),
        list(_path_lines(diagnosis)),
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block)


def _head(trace: Trace, diagnosis: Diagnosis, run_dir: Path) -> list[str]:
    game, preset = (trace.settings.get(name, "?") for name in ("env.game", "preset"))
    seconds = diagnosis.window.seconds
    whole = trace.end_ns / 1e9
    left_out = f", the {whole - seconds:.1f} s before learning began left out" if whole - seconds > 0.05 else ""
    rates = ", ".join(f"{_rate(trace, diagnosis, name):.3g} {name.replace('_', ' ')}/s" for name in _progress(trace))
    return [
        f"{game}, preset {preset}, {seconds:.1f} s of {run_dir}{left_out}",
        f"{rates}; cores {diagnosis.cores_used:.2f} of {trace.cores} in use",
    ]


def _progress(trace: Trace) -> list[str]:
    return [name for name in ("env_steps", "train_steps") if name in trace.samples]


def _rate(trace: Trace, diagnosis: Diagnosis, name: str) -> float:
    """Rate between the first and the last sample in the window."""
    begin_ns = diagnosis.window.begin_ns
    before = [sample for sample in trace.samples[name] if sample[0] <= begin_ns]
    within = [sample for sample in trace.samples[name] if sample[0] > begin_ns]
    if not within:
        return 0.0
    first = before[-1][1] if before else within[0][1]
    return (within[-1][1] - first) / diagnosis.window.seconds


def _process_lines(trace: Trace, diagnosis: Diagnosis) -> Iterator[str]:
    yield f"{'process':14}{'busy':>7}{'on a core':>11}{'no core':>9}{'unaccounted':>13}  waiting and blocked"
    for track in trace.tracks:
        shares = diagnosis.shares[track.name]
        on_core, no_core = "", ""
        if not trace.inline:
            on_core = f"{track.busy_cpu_s / (trace.end_ns / 1e9):.0%}"
            no_core = f"{track.core_wait_s / (trace.end_ns / 1e9):.0%}" if track.core_wait_s is not None else "?"
        missing = "" if trace.inline else f"{abs(shares.share(shares.unaccounted_s)):.2%}"
        waits = ", ".join(_waits(trace, track.name, shares))
        lost = f"; {track.dropped} spans lost" if track.dropped else ""
        yield f"{track.name:14}{shares.busy:>7.1%}{on_core:>11}{no_core:>9}{missing:>13}  {waits}{lost}"
    if trace.inline:
        whole = shares_in_turns(trace.tracks, diagnosis.window)
        yield f"{'all, in turns':14}{whole.busy:>7.1%}{'':>20}{whole.share(whole.unaccounted_s):>13.2%}"


def _waits(trace: Trace, name: str, shares: Shares) -> Iterator[str]:
    """`31% on learner-0 (pacing)`, the longest first."""
    for wait, seconds in sorted(shares.waits_s.items(), key=lambda item: -item[1]):
        others = trace.waits_on.get(name, {}).get(wait, ())
        on = f" on {', '.join(others)}" if others else ""
        kind = wait.removeprefix("wait_")
        verb = "blocked " if kind == "space" else "sleeps " if kind == SLEEP else ""
        yield f"{verb}{shares.share(seconds):.1%}{on}{'' if kind == SLEEP else f' ({kind})'}"


def _path_lines(diagnosis: Diagnosis) -> Iterator[str]:
    path = diagnosis.path
    yield "what the run waited for (critical path)"
    for name, seconds in sorted(path.seconds.items(), key=lambda item: -item[1]):
        note = "  no process worked: polling, pacing" if name == HAND_OVER else ""
        yield f"{name:14}{path.share(name):>7.1%}{seconds:>9.2f} s{note}"
