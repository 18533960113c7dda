"""Settings to change when one role limits a run, with the expected gain.

Changes that alter the algorithm are marked "(another run)".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

from speedyzero.config import ScheduleConfig
from speedyzero.profile.critical_path import HAND_OVER
from speedyzero.profile.diagnosis import Diagnosis, Gain, gain_of_half, gain_of_overlap, takes_turns
from speedyzero.profile.span_table import part_of
from speedyzero.topology.pacing import slack_env_steps
from speedyzero.tracing.trace import Trace, Track

WORTH = 1.02  # smaller gains are not shown


@dataclass(frozen=True)
class Advice:
    change: str
    gain: Gain


def advise(trace: Trace, diagnosis: Diagnosis) -> list[Advice]:
    """Largest gain first; empty if nothing known would help."""
    role = diagnosis.bottleneck.partition("-")[0]
    makers = {"actor": _for_actor, "reanalyzer": _for_reanalyzer, "learner": _for_learner}
    found = list(makers[role](trace, diagnosis)) if role in makers else []
    if not trace.inline and (takes_turns(diagnosis) or diagnosis.bottleneck == HAND_OVER):
        found.append(_overlap(trace, diagnosis))
    if trace.inline:
        found.append(Advice("run it as processes (without --inline)", _least_of_inline(diagnosis)))
    return sorted((one for one in found if one.gain.factor >= WORTH), key=lambda one: -one.gain.factor)


def _for_actor(trace: Trace, diagnosis: Diagnosis) -> Iterator[Advice]:
    name, count = diagnosis.bottleneck, _count(trace, "actor")
    if not trace.inline:
        yield Advice(
            f"add an actor: actor.actors={count + _count(trace, 'reanalyzer')}{_where(trace, diagnosis)}",
            gain_of_half(trace, diagnosis, name, more_processes=True),
        )
    if _device(trace, name) != "cpu":
        envs = trace.settings["actor.envs"]
        yield Advice(
            f"raise actor.envs to {2 * envs}: one search for twice as many",
            gain_of_half(trace, diagnosis, name, more_processes=False),
        )
    yield from _fewer_simulations(trace, diagnosis)


def _for_reanalyzer(trace: Trace, diagnosis: Diagnosis) -> Iterator[Advice]:
    name = diagnosis.bottleneck
    if not trace.settings["reanalyze.memo"]:
        gain = gain_of_half(trace, diagnosis, name, more_processes=False)
        yield Advice("reanalyze.memo=true: search a position once per target network, not at every request", gain)
    if not trace.inline:
        shards, actors, learners = (_count(trace, role) for role in ("reanalyzer", "actor", "learner"))
        more = next(n for n in range(shards + 1, 2 * shards * learners + 2) if n % learners == 0 or learners % n == 0)
        need = -(-actors // more) * more
        also = f" actor.actors={need}" if need != actors else ""
        yield Advice(
            f"add a reanalyzer{_where(trace, diagnosis)}: replay.shards={more}{also}",
            gain_of_half(trace, diagnosis, name, more_processes=True),
        )
    yield from _fewer_simulations(trace, diagnosis)
    if trace.settings["refresh.enabled"] and part_of(_track(trace, name), diagnosis.window, "refresh") > 0.25:
        yield Advice(
            "refresh.per_sample=0.5 (another run): half as many priorities recomputed",
            gain_of_half(trace, diagnosis, name, more_processes=False),
        )


def _for_learner(trace: Trace, diagnosis: Diagnosis) -> Iterator[Advice]:
    name, ranks = diagnosis.bottleneck, _count(trace, "learner")
    half = gain_of_half(trace, diagnosis, name, more_processes=False)
    if _device(trace, name) != "cpu":
        if trace.settings["learner.norms"] == "torch":
            yield Advice("learner.norms=fused, or compiled (see what `make gpu-check` measured)", half)
        if part_of(_track(trace, name), diagnosis.window, "gather_frames") > 0.25:
            yield Advice("replay.device_mirror=on: frames are gathered where they are used", half)
    if not trace.inline:
        gain = gain_of_half(trace, diagnosis, name, more_processes=True)
        yield Advice(f"add a learner: learner.ranks={2 * ranks}{_where(trace, diagnosis)}", gain)
    batch = trace.settings["learner.batch_size"]
    yield Advice(f"learner.batch_size={max(1, batch // 2)} (another run): half the samples of a train step", half)


def _fewer_simulations(trace: Trace, diagnosis: Diagnosis) -> Iterator[Advice]:
    simulations = trace.settings["search.num_simulations"]
    searched = part_of(_track(trace, diagnosis.bottleneck), diagnosis.window, "search")
    if simulations > 1 and searched > 0.25:
        share = diagnosis.path.share(diagnosis.bottleneck) * searched
        gain = gain_of_half(trace, diagnosis, diagnosis.bottleneck, more_processes=False)
        factor = min(gain.factor, 1.0 / (1.0 - share / 2))
        why = f"half of the search, {searched:.0%} of its time: {1.0 / (1.0 - share / 2):.2f}x; {gain.why}"
        yield Advice(f"search.num_simulations={simulations // 2} (another run): cheaper searches", Gain(factor, why))


def _overlap(trace: Trace, diagnosis: Diagnosis) -> Advice:
    tick = trace.settings["actor.envs"] * _count(trace, "actor")
    schedule = ScheduleConfig(**{one.name: trace.settings[f"schedule.{one.name}"] for one in fields(ScheduleConfig)})
    slack = 2 * slack_env_steps(schedule, tick)
    return Advice(
        f"schedule.pacing_slack_env_steps={slack}: play and learning overlap instead of taking turns",
        gain_of_overlap(trace, diagnosis),
    )


def _least_of_inline(diagnosis: Diagnosis) -> Gain:
    share = diagnosis.path.share(diagnosis.bottleneck)
    return Gain(1.0 / share, f"all at the same time, cores permitting: the longest part is {share:.0%}")


def _where(trace: Trace, diagnosis: Diagnosis) -> str:
    """` on GPU 3`, the least busy one; empty without a GPU."""
    busy: dict[str, float] = {}
    for track in trace.tracks:
        if track.device.startswith("cuda"):
            busy[track.device] = busy.get(track.device, 0.0) + diagnosis.shares[track.name].busy
    return f" on GPU {min(busy, key=lambda device: busy[device]).partition(':')[2] or 0}" if busy else ""


def _count(trace: Trace, role: str) -> int:
    return sum(track.role == role for track in trace.tracks)


def _track(trace: Trace, name: str) -> Track:
    return next(track for track in trace.tracks if track.name == name)


def _device(trace: Trace, name: str) -> str:
    return _track(trace, name).device
