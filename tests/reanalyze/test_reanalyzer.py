"""Whole batches against the slow oracle, by a real network; the target network's lag; what holds batches back."""

from functools import partial

import numpy as np
import pytest

from speedyzero.config import TargetConfig, choices
from speedyzero.reanalyze.memo import TargetMemo
from speedyzero.reanalyze.target_maker import VALUE_TARGETS
from speedyzero.replay.shard import Shard, shard_shape
from speedyzero.topology.records import PriorityRecord
from tests.reanalyze.tiny import CONFIG, STACK, Machine, WatchedAgent, changed, loaded_agent
from tests.replay.episodes import GAME_OVER, LIFE, LIMIT, NUM_ACTIONS, SPEC, made_up_lane, stack_of, tick, visit_policy

LANES = [made_up_lane([(4, LIFE), (3, LIMIT), (6, GAME_OVER)], lane=lane, min_rows=500) for lane in range(2)]
VARIANTS = {
    "puct": CONFIG,
    "gumbel": changed(search={"algorithm": "gumbel"}),
    "no noise": changed(reanalyze={"root_noise": False}),
    "root values": changed(target={"value": "root"}),
    "plain rewards": changed(search={"prefix_horizon": 0}),
}


def network_value(agent: WatchedAgent, number: int, row: int) -> float:
    return float(agent.root(stack_of(number, LANES[number], row, stack=STACK)).value[0])


def machine(config=CONFIG, *, ticks=70) -> Machine:
    return Machine(config, LANES, ticks=ticks)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_batch_against_the_oracle(name):
    """Every target of every sample from the episode objects, one network call for one stack at a time."""
    config = VARIANTS[name]
    run = machine(config)
    batch = run.batch()
    judge = loaded_agent(config, weights_seed=0, version=0)
    search = TargetMemo(
        run.shard, changed(config, reanalyze={"memo": False}).reanalyze, config.search,
        num_actions=NUM_ACTIONS, seed=config.seed,
    )  # fmt: skip

    def value_of(number: int, row: int) -> float:
        if config.target.value == "root":
            return float(search.root_values(judge, np.array([number]), np.array([row]))[0])
        return network_value(judge, number, row)

    drawn = machine(config).sampler.draw(12)  # the first draw of the same seed
    for field in ("lane", "step", "probability"):
        np.testing.assert_array_equal(getattr(batch, field), getattr(drawn, field))
    ends = set()
    for b, (number, root) in enumerate(zip(batch.lane.tolist(), batch.step.tolist(), strict=True)):
        episode, i = LANES[number].find(root)
        for j in range(config.target.unroll_steps + 1):
            acts = i + j < episode.length
            z = episode.value(i + j, td_steps=2, discount=0.9, value_of_row=partial(value_of, number))
            assert batch.value_target[b, j] == pytest.approx(z, rel=1e-4, abs=1e-4)
            policy = search.policies(judge, np.array([number]), np.array([root + j]))[0] if acts else np.zeros(3)
            np.testing.assert_allclose(batch.policy_target[b, j], policy, atol=1e-5)
            if j < config.target.unroll_steps:
                horizon = config.search.prefix_horizon
                prefix = episode.prefix(i, j, horizon=horizon) if acts else 0
                assert batch.prefix_target[b, j] == pytest.approx(prefix, rel=1e-5)
                assert batch.action_mask[b, j] == acts
                assert batch.action[b, j] == (episode.actions[i + j] if acts else 0)
            if not acts:
                ends.add(episode.end)
    assert ends == {LIFE, LIMIT, GAME_OVER}  # the batch goes past every kind of end
    assert np.ptp(batch.value_target) > 1


def test_every_kind_of_value_target_is_made():
    assert tuple(VALUE_TARGETS) == choices(TargetConfig, "value")


def test_mixed_targets_are_searched_values_once_data_is_old_and_the_run_far_enough():
    """Half of the samples count as fresh; past the end nothing is searched."""
    ages = np.sort((70 - machine().batch().step) * 2)
    median = float(ages[len(ages) // 2 - 1])
    mixed = {"value": "mixed", "mixed_start_fraction": 0.1, "mixed_fresh_fraction": median / 400}
    runs = [machine(changed(target=target)) for target in (mixed, {"value": "network"})]
    early, plain = (run.batch() for run in runs)
    np.testing.assert_array_equal(early.value_target, plain.value_target)
    for run in runs:
        run.edges.board.train_steps = 10  # of 100; the target network is still that of step 4
        run.publish(4)
    late, plain = (run.batch() for run in runs)
    judge = loaded_agent(CONFIG, weights_seed=4, version=4)
    search = TargetMemo(runs[0].shard, CONFIG.reanalyze, CONFIG.search, num_actions=NUM_ACTIONS, seed=CONFIG.seed)
    old = (70 - late.step) * 2 > median
    assert 0 < old.sum() < len(old)
    np.testing.assert_array_equal(late.value_target[~old], plain.value_target[~old])
    for b in np.flatnonzero(old):
        for j in range(CONFIG.target.unroll_steps + 1):
            acts = late.policy_target[b, j].any()
            where = np.array([late.lane[b]]), np.array([late.step[b] + j])
            expected = search.root_values(judge, *where)[0] if acts else plain.value_target[b, j]
            assert late.value_target[b, j] == pytest.approx(expected, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize(("share", "searched_rows"), [(0.0, 0), (0.5, 6), (0.99, 11), (1.0, 12)])
def test_policy_share(share, searched_rows):
    """The first part of a batch is searched, the rest keeps the actor's visit fractions."""
    run = machine(changed(reanalyze={"policy_share": share}))
    batch = run.batch()
    everything_searched = machine().batch()
    np.testing.assert_allclose(
        batch.policy_target[:searched_rows], everything_searched.policy_target[:searched_rows], atol=1e-5
    )
    np.testing.assert_allclose(batch.value_target, everything_searched.value_target, atol=1e-4)
    for b in range(searched_rows, 12):
        number, root = int(batch.lane[b]), int(batch.step[b])
        episode, i = LANES[number].find(root)
        for j in range(4):
            kept = visit_policy(np.array([number]), np.array([root + j]))[0]
            np.testing.assert_allclose(batch.policy_target[b, j], kept if i + j < episode.length else np.zeros(3))
    assert len(run.agent.searched) < 4 * searched_rows + 1


def test_the_target_network_lags_by_one_to_two_intervals():
    """Target of train step k: the weights of max(0, (k // I - 1) * I), in name and in fact."""
    interval = CONFIG.target_interval
    run = machine()
    for train_step in range(5 * interval):
        if train_step and train_step % interval == 0:
            run.publish(train_step)
        run.edges.board.train_steps = train_step
        batch = run.batch()
        due = max(0, (train_step // interval - 1) * interval)
        assert batch.target_version == run.agent.version == due
        if train_step % interval in (0, interval - 1):
            judge = loaded_agent(CONFIG, weights_seed=due, version=due)
            for b, (number, root) in enumerate(zip(batch.lane.tolist(), batch.step.tolist(), strict=True)):
                episode, i = LANES[number].find(root)
                z = episode.value(i, td_steps=2, discount=0.9, value_of_row=partial(network_value, judge, number))
                assert batch.value_target[b, 0] == pytest.approx(z, rel=1e-4, abs=1e-4)


def test_no_batch_before_the_head_start_or_without_positions_or_room():
    run = machine(ticks=18)
    assert run.edges.board.env_steps < 40 and run.sampler.size > 0
    assert not run.reanalyzer.step() and run.edges.batches.empty
    run.play(10)
    assert run.edges.board.env_steps >= 40
    assert run.reanalyzer.step() and run.edges.batches.full
    assert not run.reanalyzer.step()

    early = machine(ticks=3)
    early.edges.board.env_steps = 1000
    assert early.sampler.size == 0
    assert not early.reanalyzer.step() and early.edges.batches.empty


def test_steps_and_priorities_are_taken_before_a_batch_is_made():
    run = machine()
    head, size = int(run.shard.head[0]), run.sampler.size
    lane, step = np.array([0]), np.array([head - 6])
    for row in range(head, head + 4):
        run.edges.steps.put(tick(LANES, row))
    run.edges.priorities.put(PriorityRecord(lane, step, 0, np.array([1e9], np.float32)))
    batch = run.batch()
    assert run.shard.head.tolist() == [head + 4] * 2 and run.edges.steps.empty and run.edges.priorities.empty
    assert abs(run.sampler.size - size) <= 3  # the lanes wrap around
    assert (batch.step == step[0]).sum() >= 10  # nine tenths of the probability


@pytest.mark.parametrize("stack", [1, 4])
def test_no_more_rows_than_the_run_can_fill(stack):
    """Games of one step are the longest stream: every other row is a final observation. None is retired before the
    end."""
    config = changed(replay={"capacity_steps": 10**9}, schedule={"env_steps": 100}, env={"stack": stack})
    shard = Shard(shard_shape(config, SPEC, NUM_ACTIONS))
    assert shard.rows < 200
    shard.head += 100
    assert shard.oldest_eligible().tolist() == [0, 0]


def test_the_network_tells_places_and_versions_apart():
    """Guards the tests above: a target read one row too far, or from the wrong network, shows."""
    old, new = ([network_value(loaded_agent(CONFIG, weights_seed=v), 0, row) for row in range(30, 70)] for v in (0, 4))
    assert np.abs(np.diff(old)).min() > 1e-4
    assert np.abs(np.subtract(old, new)).min() > 1e-4
