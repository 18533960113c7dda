"""The bottleneck named from a trace, and from counters, is the role that a run gains most from when it is faster."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from speedyzero.profile.advice import advise
from speedyzero.profile.command import report
from speedyzero.profile.diagnosis import diagnose, gain_of_half, gain_of_overlap
from speedyzero.profile.wait_chain import chain_shares
from speedyzero.tracing.trace import Trace
from tests.profile.simulated_run import ACTOR, LEARNER, REANALYZER, ROLES, WAITS_ON, SimulatedRun, speedups

EVEN = {ACTOR: 40_000, REANALYZER: 10_000, LEARNER: 10_000}  # a tick serves four train steps


def random_runs(count: int) -> list[tuple[dict[str, int], int]]:
    """Steps of 3 to 200 ms, and the pacing's slack."""
    draw = random.Random(7)
    return [
        ({role: int(10 ** draw.uniform(3.5, 5.3)) for role in ROLES}, draw.choice([0, 16, 32])) for _ in range(count)
    ]


@pytest.mark.parametrize(("step_us", "slack"), random_runs(20))
def test_the_bottleneck_is_whom_it_helps_most_to_speed_up(step_us, slack):
    run = SimulatedRun(step_us, slack=slack)
    found, truth = diagnose(run.trace), speedups(step_us, slack=slack)
    assert found.bottleneck == max(truth, key=lambda role: truth[role]), truth
    chain = chain_shares({role: found.shares[role] for role in ROLES}, WAITS_ON)
    assert max(chain, key=lambda role: chain[role]) == found.bottleneck, chain
    assert all(abs(chain[role] - found.path.share(role)) < 0.1 for role in ROLES), (chain, found.path.seconds)
    gain = gain_of_half(run.trace, found, found.bottleneck, more_processes=False)
    assert 1.0 < truth[found.bottleneck] <= 1.03 * gain.factor


@pytest.mark.parametrize("slow", ROLES)
def test_a_slowed_role_is_named_and_its_remedy_comes(slow):
    step_us = {**EVEN, slow: 12 * EVEN[slow]}
    trace = SimulatedRun(step_us).trace
    found = diagnose(trace)
    assert found.bottleneck == slow and found.path.share(slow) > 0.8
    assert f"{slow} is the bottleneck" in found.sentence
    changes = {ACTOR: "actor.actors=2", REANALYZER: "replay.shards=2 actor.actors=2", LEARNER: "learner.ranks=2"}
    assert any(changes[slow] in one.change for one in advise(trace, found))


def test_play_and_learning_that_take_turns_gain_by_slack():
    turns = SimulatedRun(EVEN, slack=0)
    advice = [one for one in advise(turns.trace, diagnose(turns.trace)) if "pacing_slack_env_steps=16" in one.change]
    gained = turns.now_us / SimulatedRun(EVEN, slack=16).now_us
    assert len(advice) == 1 and 1.2 < gained <= 1.03 * advice[0].gain.factor
    overlapping = SimulatedRun({**EVEN, LEARNER: 50_000}, slack=64).trace
    found = diagnose(overlapping)
    assert found.bottleneck == LEARNER
    assert any("the configured ratio" in remark and ACTOR in remark for remark in found.remarks)
    assert not any("pacing_slack" in one.change for one in advise(overlapping, found))


def test_nobody_works_is_the_pacing_s_fault():
    found = diagnose(SimulatedRun(dict.fromkeys(ROLES, 100), slack=0).trace)  # far below the polling's 5 ms
    assert found.bottleneck == "hand-over" and "pacing is the bottleneck" in found.sentence


def with_device(trace: Trace, *devices: str) -> Trace:
    tracks = [replace(track, device=device) for track, device in zip(trace.tracks, devices, strict=True)]
    return replace(trace, tracks=tracks)


def test_a_reanalyzer_is_added_on_the_gpu_that_is_busy_the_least():
    run = SimulatedRun({**EVEN, REANALYZER: 120_000, LEARNER: 40_000}).trace
    trace = with_device(run, "cuda:3", "cuda:0", "cuda:1")
    found = diagnose(trace)
    assert any("add a reanalyzer on GPU 3" in one.change for one in advise(trace, found))
    forgetful = replace(trace, settings={**trace.settings, "reanalyze.memo": False})
    assert any("reanalyze.memo=true" in one.change for one in advise(forgetful, found))


def test_full_cores_bound_what_more_processes_gain():
    run = SimulatedRun({**EVEN, REANALYZER: 120_000}).trace
    full = replace(run, cores=2, machine_cpu_s=2 * run.end_ns / 1e9)
    starved = replace(full, tracks=[replace(track, core_wait_s=0.3 * run.end_ns / 1e9) for track in full.tracks])
    found = diagnose(starved)
    assert found.bottleneck == REANALYZER
    assert any("the cores are full" in remark for remark in found.remarks)
    assert any("had no core for 30%" in remark for remark in found.remarks)
    assert gain_of_half(starved, found, REANALYZER, more_processes=True).factor == 1.0
    assert gain_of_half(starved, found, REANALYZER, more_processes=False).factor > 1.5
    assert gain_of_overlap(starved, found).factor == 1.0


def test_the_report_says_all_of_it(tmp_path):
    trace = SimulatedRun({**EVEN, LEARNER: 60_000}).trace
    text = report(trace, diagnose(trace), tmp_path)
    for part in ("learner-0 is the bottleneck", "unaccounted", "critical path", "on learner-0 (pacing)", "at most"):
        assert part in text
    row = next(line for line in text.splitlines() if line.startswith("learner-0"))
    assert "0.00%" in row


def test_nothing_recorded_is_refused():
    trace = SimulatedRun(EVEN).trace
    empty = replace(trace, tracks=[replace(track, covered=[]) for track in trace.tracks])
    with pytest.raises(ValueError, match="nothing was recorded"):
        diagnose(empty)
