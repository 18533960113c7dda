"""The capacity model: counted operations by hand, a pace by hand, and what it refuses."""

from dataclasses import replace

import numpy as np
import pytest

from speedyzero.arguments.resolve import resolve
from speedyzero.config.placement import Placement
from speedyzero.env.registry import check_game
from speedyzero.plan.arguments import _parser, planned_config, read_costs
from speedyzero.plan.command import _alike_as_one, plan
from speedyzero.plan.costs import Costs, estimated, flops_of, gradient_bytes, nodes_s
from speedyzero.plan.model import pace_of, predict
from speedyzero.plan.workload import Workload, distinct, workload_at

COSTS = Costs(
    search_s=2e-3,
    value_s=1e-3,
    sample_s=5e-3,
    refresh_s=1e-3,
    host_env_step_s=4e-3,
    host_batch_s=10e-3,
    sync_s=7e-3,
    search_call_s=9e-3,
    train_step_s=100e-3,
    source="made up",
)
ONE_EACH = Placement(("cpu",), ("cpu",), ("cpu",))
WORK = Workload(env_steps=10.0, searches=100.0, values=20.0, refreshes=30.0, samples=64.0, lanes_of_actor=5)


def config_of(*words: str):
    return planned_config(_parser("plan").parse_args(list(words)))


def test_the_networks_operations_are_those_of_the_design():
    """The design's performance page, 1: millions of multiply-accumulates of EfficientZero's network with 18 actions."""
    config = resolve("efficientzero", "Alien", 0, 0, None, ["learner.batch_size=256"])
    flops = flops_of(config, check_game(config.env))
    assert flops.root / 2e6 == pytest.approx(151.4, rel=0.01)
    assert flops.step / 2e6 == pytest.approx(9.1, rel=0.02)
    assert flops.sample / 2e6 == pytest.approx(1445, rel=0.03)
    assert (flops.root + 50 * flops.step) / 2e6 == pytest.approx(606, rel=0.01)


@pytest.mark.parametrize(("draws", "positions"), [(10, 1000), (1000, 1000), (5000, 300)])
def test_distinct_draws_are_those_of_a_simulation(draws, positions):
    rng = np.random.default_rng(0)
    found = [len(set(rng.integers(positions, size=draws).tolist())) for _ in range(200)]
    assert distinct(draws, positions) == pytest.approx(np.mean(found), rel=0.02)


def test_a_memo_searches_each_position_once_an_interval_at_most():
    config = resolve("speedyzero", "Pong", 0, 0, None, [])
    few, many = workload_at(config, 5_000), workload_at(config, 300_000)
    interval = config.target_interval
    assert few.searches == pytest.approx(5_000 / interval, rel=1e-3)
    assert few.searches < many.searches <= 300_000 / interval
    without = replace(config, reanalyze=replace(config.reanalyze, memo=False))
    assert workload_at(without, 5_000).searches == 2048 * 6
    assert many.env_steps == pytest.approx(297_000 / 15_000)
    assert workload_at(config, 300_000, is_frozen=True).env_steps == 0
    off = replace(config, refresh=replace(config.refresh, enabled=False))
    assert many.refreshes == 2048 and workload_at(off, 300_000).refreshes == 0


def test_a_pace_by_hand_on_cores():
    pace = pace_of(WORK, COSTS, ONE_EACH, cores=2)
    assert pace.busy_s["an actor"] == pytest.approx(10 * 2e-3 + 10 * 4e-3)
    assert pace.busy_s["a reanalyzer"] == pytest.approx(0.2 + 0.02 + 0.03 + 0.01)
    assert pace.busy_s["a learner"] == pytest.approx(0.32)
    assert pace.busy_s["2 cores"] == pytest.approx((0.06 + 0.26 + 0.32) / 2)
    assert pace.train_step_s == pytest.approx(0.32)  # of a learner, and of the cores


def test_a_pace_by_hand_on_gpus_that_are_shared():
    gpus = ("cuda:0", "cuda:1")
    pace = pace_of(WORK, COSTS, Placement(gpus, gpus, gpus), cores=32)
    actor, reanalyzer, learner = 10 * 2e-3 / 2, 0.25 / 2, 0.32 / 2 + 7e-3
    assert pace.busy_s["cuda:0"] == pytest.approx(actor + reanalyzer + learner) == pace.train_step_s
    assert pace.bottleneck in gpus
    split = pace_of(WORK, COSTS, Placement(("cuda:1",), ("cuda:1",), ("cuda:0",)), cores=32)
    assert split.busy_s["cuda:0"] == pytest.approx(0.32) and split.busy_s["cuda:1"] == pytest.approx(0.02 + 0.25)


def test_small_batches_end_at_the_least_time_of_a_call():
    gpus = tuple(f"cuda:{index}" for index in range(32))
    pace = pace_of(replace(WORK, lanes_of_actor=1), COSTS, Placement(gpus, gpus, gpus), cores=512)
    assert pace.busy_s["a learner"] == pytest.approx(100e-3 + 7e-3)  # 2 samples take 10 ms
    assert pace.busy_s["a reanalyzer"] == pytest.approx(9e-3 + 0.05 / 32 + 10e-3 / 32)  # 3 searches take 6 ms
    assert pace.busy_s["an actor"] == pytest.approx(10 / 32 * (9e-3 + 4e-3))


def test_a_run_is_the_sum_of_its_parts():
    lengths = ["schedule.train_steps=1500", "schedule.env_steps=4000", "schedule.head_start_env_steps=400"]
    searched = ["schedule.frozen_train_steps=100", "reanalyze.policy_share=1", "learner.batch_size=64"]
    searched += ["target.interval_samples=6400"]
    config = resolve("laptop", "Pong", 0, 0, None, [*lengths, *searched])
    costs = replace(COSTS, search_s=0.1)  # the reanalyzer limits, and replay grows
    found = predict(config, costs, cores=2)

    def step_s(env_steps: float, *, is_frozen: bool = False) -> float:
        return pace_of(workload_at(config, env_steps, is_frozen=is_frozen), costs, ONE_EACH, cores=2).train_step_s

    assert found.frozen_s == pytest.approx(100 * step_s(4_000, is_frozen=True))
    assert found.head_start_s == pytest.approx(400 * 4e-3)
    assert 1_500 * step_s(400) < found.paced_s < 1_500 * step_s(4_000)
    assert found.limits["a reanalyzer"] > 0.9 and sum(found.limits.values()) == pytest.approx(1.0)


def test_more_gpus_are_never_slower_and_a_faster_search_helps_who_waits_for_it():
    one = config_of("--gpus", "1", "--gpu", "H100")
    eight = config_of("--gpus", "8", "--gpu", "H100")
    game = check_game(one.env)
    costs = estimated(one, game, "H100")
    slow, fast = predict(one, costs, cores=16), predict(eight, costs, cores=128)
    assert 1.0 < slow.total_s / fast.total_s <= 8.0
    assert eight.preset == "speedyzero"
    quicker = costs.with_entered({"search_s": costs.search_s / 10})
    assert predict(one, quicker, cores=16).total_s < slow.total_s
    assert "entered: search_s" in quicker.source


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--gpus", "8"], "give both"),
        (["--gpu", "H100"], "give both"),
        (["--gpus", "1", "--gpu", "Riva128"], "figures are there for A100, H100, H200"),
        (["--gpus", "-1", "--gpu", "H100"], "must be 0 or more"),
        (["--cores", "0"], "must be 1 or more"),
        (["--game", "Nope"], "no such Atari game"),
        (["--nodes", "0"], "must be 1 or more"),
        (["--nodes", "2", "--network", "0"], "must be above 0 Gbit/s"),
        (["--nodes", "7"], "does not divide into 7 equal parts"),
        (["--nodes", "2", "--gpus", "8", "--gpu", "H100"], "schedule.head_start_env_steps=1500 < 1920"),
    ],
)
def test_what_cannot_be_planned_is_one_line(words, expected):
    with pytest.raises(ValueError, match=expected.replace("?", r"\?")) as error:
        config_of(*words)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("word", ["search_s", "search_s=fast", "search_s=-1", "search_s=inf", "speed=1", "source=1"])
def test_odd_costs_are_refused(word):
    with pytest.raises(ValueError, match="--cost"):
        read_costs([word])


def test_gpus_with_equal_figures_are_one_line_and_different_pairs_are_two():
    figures = {"cuda:0": 1.0, "cuda:1": 2.0, "cuda:2": 1.0, "cuda:3": 2.0, "cuda:4": 3.0, "64 cores": 3.0}
    expected = {"2 GPUs as cuda:0": 1.0, "2 GPUs as cuda:1": 2.0, "cuda:4": 3.0, "64 cores": 3.0}
    assert _alike_as_one(figures) == expected


def test_a_node_of_several_does_its_part_and_waits_for_the_gradients_of_all(capsys):
    words = ["--game", "Pong", "--gpus", "8", "--gpu", "H100", "actor.envs=8"]
    whole, own = config_of(*words), config_of(*words, "--nodes", "2")
    assert (own.learner.batch_size, own.gpus) == (whole.learner.batch_size // 2, whole.gpus)
    game = check_game(own.env)
    seconds = nodes_s(own, game, nodes=2, gbit_per_s=10.0)
    assert seconds == pytest.approx(gradient_bytes(own, game) * 8 / 10e9), "with two nodes each sends them once"
    costs = estimated(own, game, "H100")
    alone, shared = (predict(own, replace(costs, nodes_s=one), cores=128) for one in (0.0, seconds))
    learner_s = [prediction.typical.busy_s["a learner"] for prediction in (alone, shared)]
    assert learner_s[1] - learner_s[0] == pytest.approx(seconds)
    plan(own, "H100", {}, cores=128, nodes=2, gbit_per_s=10.0)
    printed = capsys.readouterr().out
    assert "each node    of 2" in printed and "at 10 Gbit/s, never measured" in printed
