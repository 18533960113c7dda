"""The bottleneck named from a trace, and from busy time, is the role that a run gains most from when it is faster."""

import random
from dataclasses import replace

import pytest

from speedyzero.profile.command import report
from speedyzero.profile.diagnosis import diagnose
from tests.profile.simulated_run import ACTOR, LEARNER, REANALYZER, ROLES, SimulatedRun, speedups

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
    busy = {role: found.shares[role].busy for role in ROLES}
    assert busy[found.bottleneck] > max(busy.values()) - 0.05, busy  # as the progress display names it (`limit_now.py`)


@pytest.mark.parametrize("slow", ROLES)
def test_a_slowed_role_is_named_in_the_first_line(slow, tmp_path):
    trace = SimulatedRun({**EVEN, slow: 12 * EVEN[slow]}).trace
    found = diagnose(trace)
    assert found.bottleneck == slow and found.path.share(slow) > 0.8
    assert report(trace, found, tmp_path).startswith(f"{slow} is the bottleneck: ")


def test_a_configured_ratio_that_holds_play_back_is_named():
    found = diagnose(SimulatedRun({**EVEN, LEARNER: 50_000}, slack=64).trace)
    assert found.bottleneck == LEARNER
    assert any("the configured ratio" in remark and ACTOR in remark for remark in found.remarks)


def test_nobody_works_is_the_pacing_s_fault():
    found = diagnose(SimulatedRun(dict.fromkeys(ROLES, 100), slack=0).trace)  # far below the polling's 5 ms
    assert found.bottleneck == "hand-over" and "pacing is the bottleneck" in found.sentence


def test_full_cores_are_named():
    run = SimulatedRun({**EVEN, REANALYZER: 120_000}).trace
    full = replace(run, cores=2, machine_cpu_s=2 * run.end_ns / 1e9)
    starved = replace(full, tracks=[replace(track, core_wait_s=0.3 * run.end_ns / 1e9) for track in full.tracks])
    found = diagnose(starved)
    assert found.bottleneck == REANALYZER
    assert any("the cores are full" in remark for remark in found.remarks)
    assert any("had no core for 30%" in remark for remark in found.remarks)


def test_nothing_recorded_is_refused():
    trace = SimulatedRun(EVEN).trace
    empty = replace(trace, tracks=[replace(track, covered=[]) for track in trace.tracks])
    with pytest.raises(ValueError, match="nothing was recorded"):
        diagnose(empty)
