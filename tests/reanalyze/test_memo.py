"""The memo beside no memo, with a real network; how often it works; and that nothing old is served."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speedyzero.reanalyze.memo import TargetMemo
from speedyzero.replay.shard import Shard, ShardShape
from speedyzero.system import keyed_random
from tests.reanalyze.tiny import CONFIG, STACK, changed, loaded_agent
from tests.replay.episodes import GAME_OVER, LIFE, LIMIT, NUM_ACTIONS, SPEC, made_up_lane, tick

ROWS = 20
LANES = [made_up_lane([(4, LIFE), (3, LIMIT), (6, GAME_OVER)], lane=lane, min_rows=150) for lane in range(2)]
KINDS = ("policies", "root_values", "network_values")
GUMBEL = changed(search={"algorithm": "gumbel"})
PLAIN = changed(reanalyze={"root_noise": False})


def make_shard(ticks: int) -> Shard:
    shard = Shard(
        ShardShape(lanes=2, rows=ROWS, spec=SPEC, num_actions=NUM_ACTIONS, stack=STACK, lookahead=5, actors=1)
    )
    play(shard, ticks)
    return shard


def play(shard: Shard, ticks: int) -> None:
    for _ in range(ticks):
        shard.append(tick(LANES, int(shard.head[0])))


def make_memo(shard: Shard, config=CONFIG, **reanalyze) -> TargetMemo:
    config = changed(config, reanalyze=reanalyze)
    return TargetMemo(shard, config.reanalyze, config.search, num_actions=NUM_ACTIONS, seed=config.seed)


def places(*positions: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    lane, step = np.array(positions, np.int64).T
    return lane, step


@st.composite
def requests(draw):
    """Turns of a shard's life: some ticks, then a request for places among its newest rows of one target network."""
    turn = st.tuples(
        st.integers(0, ROWS),
        st.integers(0, 2),
        st.sampled_from(KINDS),
        st.lists(st.tuples(st.integers(0, 1), st.integers(0, ROWS - STACK - 2)), min_size=1, max_size=6),
    )
    return draw(st.lists(turn, min_size=2, max_size=6))


@settings(max_examples=40)
@given(requests())
def test_whatever_was_asked_before_the_answer_is_that_of_a_new_search(turns):
    """Rows are overwritten and target networks change, and come back, between the requests."""
    shard = make_shard(ROWS)
    memo = make_memo(shard)
    agents = [loaded_agent(CONFIG, weights_seed=version, version=version) for version in range(3)]
    for ticks, version, kind, ages in turns:
        play(shard, ticks)
        lane, step = places(*[(lane, int(shard.head[0]) - 1 - age) for lane, age in ages])
        remembered = getattr(memo, kind)(agents[version], lane, step)
        fresh = getattr(make_memo(shard, memo=False), kind)(agents[version], lane, step)
        np.testing.assert_allclose(remembered, fresh, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("config", [CONFIG, GUMBEL, PLAIN], ids=["puct", "gumbel", "no noise"])
def test_noise_is_keyed_by_place_and_version(config):
    """The same whoever is searched beside it, and what a search of this place alone gives."""
    shard, agent = make_shard(30), loaded_agent(config, version=8)
    lane, step = places((0, 20), (1, 20), (0, 21), (1, 29))
    together = make_memo(shard, config)
    policies, values = together.policies(agent, lane, step), together.root_values(agent, lane, step)
    for i in range(len(lane)):
        noise = None
        if config.reanalyze.root_noise:
            keys = keyed_random.keys(config.seed, keyed_random.REANALYZE_NOISE, int(lane[i]), int(step[i]), 8)
            search = config.search
            noise = keyed_random.root_noise(
                keys, NUM_ACTIONS, algorithm=search.algorithm, alpha=search.root_dirichlet_alpha
            )
        alone = agent.search(shard.gather_stacks(lane[i : i + 1], step[i : i + 1]), noise=noise)
        np.testing.assert_allclose(policies[i], alone.policy[0], atol=1e-5)
        np.testing.assert_allclose(values[i], alone.value[0], atol=1e-5)


def test_a_position_is_searched_once_per_version():
    shard, agent = make_shard(30), loaded_agent(CONFIG, version=4)
    memo = make_memo(shard)
    lane, step = places((0, 20), (1, 20), (0, 20), (0, 25), (1, 20))
    for kind in ("policies", "root_values", "policies"):
        getattr(memo, kind)(agent, lane, step)
    assert sorted(agent.searched) == [(0, 20), (0, 25), (1, 20)]
    assert (memo.requested_searches, memo.done_searches) == (15, 3)
    memo.policies(agent, *places((0, 25), (0, 26)))
    assert agent.searched[3:] == [(0, 26)]

    newer = loaded_agent(CONFIG, version=8)
    memo.policies(newer, lane, step)
    assert sorted(newer.searched) == [(0, 20), (0, 25), (1, 20)]


def test_a_search_leaves_the_network_value_behind():
    shard, agent = make_shard(30), loaded_agent(CONFIG)
    memo = make_memo(shard)
    memo.policies(agent, *places((0, 20), (1, 21)))
    memo.network_values(agent, *places((0, 20), (0, 22), (1, 21), (0, 22)))
    memo.network_values(agent, *places((0, 22)))
    assert agent.seen == [(0, 20), (1, 21), (0, 22)]
    assert agent.searched == [(0, 20), (1, 21)]


@pytest.mark.parametrize("search_batch", [1, 3, 100])
def test_searches_are_cut_into_batches(search_batch):
    shard, agent = make_shard(30), loaded_agent(CONFIG)
    memo = make_memo(shard, search_batch=search_batch)
    lane, step = np.repeat([0, 1], 4), np.tile(np.arange(20, 24), 2)
    policies = memo.policies(agent, lane, step)
    np.testing.assert_allclose(policies, make_memo(shard).policies(loaded_agent(CONFIG), lane, step), atol=1e-5)
    memo.network_values(agent, lane, step + 4)
    assert agent.largest_batch == min(search_batch, 8)
