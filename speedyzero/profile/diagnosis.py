"""The bottleneck of a profiled run in one sentence, with remarks on what else limited it."""

from collections.abc import Mapping
from dataclasses import dataclass

from speedyzero.profile.critical_path import HAND_OVER, CriticalPath, critical_path
from speedyzero.profile.shares import Shares, Window, intervals, shares_of, window_of
from speedyzero.runtime.wiring import LEARNER
from speedyzero.tracing.trace import Trace

FULL_CORES = 0.9  # share of the cores in use above which they count as the limit
NOTABLE = 0.1  # shares below are not reported
_PACING = "wait_pacing"


@dataclass(frozen=True)
class Diagnosis:
    window: Window
    shares: Mapping[str, Shares]  # by track
    path: CriticalPath
    bottleneck: str  # a track, or HAND_OVER
    sentence: str
    remarks: tuple[str, ...]
    cores_used: float  # of `trace.cores`, by all programs of the machine


def diagnose(trace: Trace) -> Diagnosis:
    """Raises ValueError for an empty trace."""
    window = window_of(trace)
    shares = {track.name: shares_of(track, window) for track in trace.tracks}
    if not any(one.wall_s > 0 for one in shares.values()):
        raise ValueError("nothing was recorded in it")
    path = _path(trace, window, shares)
    bottleneck = max(path.seconds, key=lambda name: path.seconds[name])
    cores_used = trace.machine_cpu_s / (trace.end_ns / 1e9) if trace.end_ns else 0.0
    return Diagnosis(
        window=window,
        shares=shares,
        path=path,
        bottleneck=bottleneck,
        sentence=_sentence(bottleneck, path, shares, inline=trace.inline),
        remarks=tuple(_remarks(trace, bottleneck, shares, cores_used)),
        cores_used=cores_used,
    )


def _path(trace: Trace, window: Window, shares: Mapping[str, Shares]) -> CriticalPath:
    roles = list(trace.waits_on)
    if trace.inline:  # sequential: all work is on the path, the supervisor's included
        return CriticalPath({name: one.busy_s for name, one in shares.items()})
    tracks = {track.name: intervals(track, window) for track in trace.tracks if track.name in roles}
    last = LEARNER if LEARNER in tracks else roles[-1]
    return critical_path(tracks, trace.waits_on, window, last=last)


def _sentence(bottleneck: str, path: CriticalPath, shares: Mapping[str, Shares], *, inline: bool) -> str:
    share = path.share(bottleneck)
    if inline:
        return f"{bottleneck} takes most of the time: {share:.0%} of the roles' sequential work."
    if bottleneck == HAND_OVER:
        return f"pacing is the bottleneck: for {share:.0%} of the time all processes waited for the others' progress."
    return (
        f"{bottleneck} is the bottleneck: for {share:.0%} of the time the run waited for its work (critical path); "
        f"it was busy {shares[bottleneck].busy:.0%}."
    )


def _remarks(trace: Trace, bottleneck: str, shares: Mapping[str, Shares], cores_used: float) -> list[str]:
    found = []
    held = {"learner": "actor", "actor": "learner"}.get(bottleneck.partition("-")[0], "")
    paced = [name for name in trace.waits_on if name.partition("-")[0] == held]
    waited = max((shares[name].share(shares[name].waits_s.get(_PACING, 0.0)) for name in paced), default=0.0)
    if waited >= NOTABLE:
        found.append(
            f"the configured ratio of train steps to env steps makes {paced[0]} wait for {waited:.0%} of its time: "
            f"more {'play' if held == 'actor' else 'learning'} alone gains nothing, another ratio is another run "
            "(schedule.train_steps, schedule.env_steps)."
        )
    if cores_used >= FULL_CORES * trace.cores:
        ours = sum(track.busy_cpu_s + track.wait_cpu_s for track in trace.tracks) / (trace.end_ns / 1e9)
        found.append(
            f"the cores are full: {cores_used:.2f} of {trace.cores} in use, {ours:.2f} by this run, the rest by other "
            "programs; every process also waits for cores."
        )
    waited_s = next((track.core_wait_s for track in trace.tracks if track.name == bottleneck), None)
    without_core = (waited_s or 0.0) / (trace.end_ns / 1e9)
    if without_core >= NOTABLE:
        found.append(f"{bottleneck} was runnable but had no core for {without_core:.0%} of the time.")
    return found
