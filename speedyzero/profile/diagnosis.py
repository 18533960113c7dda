"""The bottleneck of a profiled run in one sentence, and bounds on the gain from removing it.

A gain is the least of up to three bounds from the measured times:
    Amdahl        a share f of the critical path done in half the time: 1 / (1 - f/2); not at all: 1 / (1 - f)
    the next one  a run is no faster than its next busiest process: 1 / (its busy share)
    the cores     if they are full, more processes do not help: cores / cores in use
"""

from __future__ import annotations

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
class Gain:
    """factor: upper bound of the speed-up. why: its derivation."""

    factor: float
    why: str


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
        remarks=tuple(_remarks(trace, bottleneck, path, shares, cores_used)),
        cores_used=cores_used,
    )


def gain_of_half(trace: Trace, diagnosis: Diagnosis, name: str, *, more_processes: bool) -> Gain:
    """The gain from halving a track's part of the path. more_processes: by adding processes."""
    share = diagnosis.path.share(name)
    bounds = {f"half of its {share:.0%} of the critical path": 1.0 / (1.0 - share / 2)}
    if not trace.inline:
        bounds |= _next_busy(trace, diagnosis, but=name)
    if more_processes and diagnosis.cores_used >= FULL_CORES * trace.cores:
        bounds["the cores are full"] = max(1.0, trace.cores / diagnosis.cores_used)
    return _least(bounds)


def gain_of_overlap(trace: Trace, diagnosis: Diagnosis) -> Gain:
    """The gain from overlapping play and learning instead of alternating."""
    bounds = _next_busy(trace, diagnosis, but="")
    if diagnosis.cores_used >= FULL_CORES * trace.cores:
        bounds["the cores are full"] = max(1.0, trace.cores / diagnosis.cores_used)
    return _least(bounds)


def takes_turns(diagnosis: Diagnosis) -> bool:
    """Whether play and learning alternate, each waiting for the other by pacing."""
    forth = {(waiter.partition("-")[0]) for (waiter, wait, _) in diagnosis.path.jumps if wait == _PACING}
    parts = [_role_share(diagnosis.path, role) for role in ("actor", "learner")]
    return forth == {"actor", "learner"} and min(parts) + diagnosis.path.share(HAND_OVER) >= NOTABLE


def _path(trace: Trace, window: Window, shares: Mapping[str, Shares]) -> CriticalPath:
    roles = list(trace.waits_on)
    if trace.inline:  # sequential: all work is on the path, the supervisor's included
        return CriticalPath({name: one.busy_s for name, one in shares.items()}, {})
    tracks = {track.name: intervals(track, window) for track in trace.tracks if track.name in roles}
    last = LEARNER if LEARNER in tracks else roles[-1]
    return critical_path(tracks, trace.waits_on, window, last=last)


def _role_share(path: CriticalPath, role: str) -> float:
    return sum(path.share(name) for name in path.seconds if name.partition("-")[0] == role)


def _next_busy(trace: Trace, diagnosis: Diagnosis, *, but: str) -> dict[str, float]:
    busy = {name: diagnosis.shares[name].busy for name in trace.waits_on if name != but}
    name = max(busy, key=lambda one: busy[one])
    return {f"then {name}, busy {busy[name]:.0%}, is the limit": 1.0 / max(busy[name], 1e-3)}


def _least(bounds: Mapping[str, float]) -> Gain:
    factor = max(1.0, min(bounds.values()))
    return Gain(factor, "; ".join(f"{why}: {bound:.2f}x" for why, bound in bounds.items()))


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


def _remarks(
    trace: Trace, bottleneck: str, path: CriticalPath, shares: Mapping[str, Shares], cores_used: float
) -> list[str]:
    found = []
    role = bottleneck.partition("-")[0]
    held = {"learner": "actor", "actor": "learner"}.get(role, "")
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
    waits = {track.name: track.core_wait_s for track in trace.tracks}
    without_core = (waits.get(bottleneck) or 0.0) / (trace.end_ns / 1e9)
    if without_core >= NOTABLE:
        found.append(
            f"{bottleneck} was runnable but had no core for {without_core:.0%} of the time: dedicated cores would "
            f"make its part up to {1 / (1 - min(without_core, 0.9)):.2f}x as fast."
        )
    return found
