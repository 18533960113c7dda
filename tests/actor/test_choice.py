"""Which action is played: uniform at first, then by visits and temperature or as the search says; noise by its keys."""

import numpy as np
import pytest

from speedyzero.actor.actor import sample_visits, temperature_at
from speedyzero.config import ActorConfig
from speedyzero.system import keyed_random
from speedyzero.topology.records import StepRecord
from tests.actor.fakes import FREE, RANDOM_PHASE, Game, LookingAgent, ScriptedEnv, config_of
from tests.replay.episodes import GAME_OVER, LIMIT, NUM_ACTIONS, made_up_lane

CHI_SQUARE_2 = 13.82  # 99.9% quantile with 2 degrees of freedom; seeds are fixed


def many_lanes(count: int, *, first_lane: int = 0) -> ScriptedEnv:
    shape = [(5, LIMIT), (3, GAME_OVER)]
    lanes = [made_up_lane(shape, lane=first_lane + i, min_rows=400) for i in range(count)]
    return ScriptedEnv(lanes, first_lane=first_lane)


def chi_square(actions: np.ndarray, probability: list[float]) -> float:
    counts, expected = np.bincount(actions, minlength=len(probability)), len(actions) * np.array(probability)
    return float(((counts - expected) ** 2 / expected).sum())


def acted(records: list[StepRecord]) -> np.ndarray:
    return np.concatenate([record.action[~record.last] for record in records])


def test_actions_are_uniform_before_the_head_start():
    game = Game(config_of(schedule=RANDOM_PHASE), many_lanes(40))
    records = game.play(100)
    assert not game.agent.stacks  # nothing is searched
    for record in records:
        np.testing.assert_array_equal(record.visit_policy, np.full((40, NUM_ACTIONS), 1 / 3, np.float32))
        assert not record.root_value.any()
    assert chi_square(acted(records), [1 / 3] * 3) < CHI_SQUARE_2


def test_a_temperature_near_zero_takes_the_most_visited_without_an_overflow():
    assert sample_visits(np.array([[800, 801]]), np.array([0.01]), temperature=1e-4).tolist() == [1]


@pytest.mark.parametrize("temperature", [1.0, 0.5, 0.25, 2.0])
def test_odds_are_visits_to_the_power_of_one_over_the_temperature(temperature):
    visits = np.array([3, 0, 1, 12])
    uniform = (np.arange(4000) + 0.5) / 4000
    actions = sample_visits(np.tile(visits, (4000, 1)), uniform, temperature=temperature)
    odds = visits ** (1 / temperature)
    np.testing.assert_allclose(np.bincount(actions, minlength=4) / 4000, odds / odds.sum(), atol=1 / 4000)
    for u in (np.nextafter(0, 1), np.nextafter(1, 0)):  # what was not visited is never chosen
        assert sample_visits(np.array([[0, 7, 0]]), np.array([u]), temperature=temperature).tolist() == [1]


def test_temperature_by_train_steps():
    """EfficientZero's: at 50k and 75k of 120k train steps."""
    config = ActorConfig(temperatures=(1.0, 0.5, 0.25), temperature_changes=(50 / 120, 75 / 120))
    steps = (0, 49_999, 50_000, 74_999, 75_000, 120_000)
    assert [temperature_at(config, step / 120_000) for step in steps] == [1, 1, 0.5, 0.5, 0.25, 0.25]


@pytest.mark.parametrize(("train_steps", "temperature"), [(0, 1.0), (49, 1.0), (50, 0.5)])
def test_visits_are_sampled_at_the_temperature_of_the_time(train_steps, temperature):
    visits = np.array([4, 1, 2])
    agent = LookingAgent(lambda stacked, noise: np.tile(visits, (len(stacked), 1)))
    config = config_of(temperatures=(1.0, 0.5), temperature_changes=(0.5,))
    game = Game(config, many_lanes(40), agent)
    game.edges.board.train_steps = train_steps
    records = game.play(101)[1:]
    odds = visits ** (1 / temperature)
    assert chi_square(acted(records), (odds / odds.sum()).tolist()) < CHI_SQUARE_2


def test_gumbel_plays_the_action_that_the_search_names():
    game = Game(config_of(algorithm="gumbel"), many_lanes(2))
    for row, record in enumerate(game.play(20)[1:], start=1):
        np.testing.assert_array_equal(record.action, np.where(record.last, 0, (row + 1) % NUM_ACTIONS))


@pytest.mark.parametrize("algorithm", ["puct", "gumbel"])
def test_noise_is_keyed_by_lane_and_tick(algorithm):
    game = Game(config_of(algorithm=algorithm), many_lanes(3))
    game.play(6)
    for number, noise in enumerate(game.agent.noises, start=1):
        keys = keyed_random.keys(11, keyed_random.ACT_NOISE, np.arange(3), number)
        expected = keyed_random.root_noise(keys, NUM_ACTIONS, algorithm=algorithm, alpha=0.3)
        np.testing.assert_array_equal(noise, expected)
    assert len({noise.tobytes() for noise in game.agent.noises}) == len(game.agent.noises) == 5
    assert len(set(game.agent.tie_seeds)) == 5


@pytest.mark.parametrize("schedule", [FREE, RANDOM_PHASE], ids=["search", "random"])
def test_a_lane_plays_the_same_whatever_the_others(schedule):
    """Its noise, its actions, its rows depend neither on how many lanes there are nor on which actor plays them."""

    def rows_of(lanes: int, first_lane: int = 0) -> list[StepRecord]:
        agent = LookingAgent(lambda stacked, noise: 1 + (1000 * noise).astype(np.int64))
        env = many_lanes(lanes, first_lane=first_lane)
        return Game(config_of(schedule=schedule), env, agent, first_lane=first_lane).play(40)

    chosen = set()
    for few, second, many in zip(rows_of(2), rows_of(3, first_lane=2), rows_of(5), strict=True):
        for name, value in vars(many).items():
            separate = np.concatenate([getattr(few, name), getattr(second, name)])
            np.testing.assert_array_equal(value, separate, err_msg=name)
        chosen |= set(zip(many.action[:2].tolist(), many.action[3:].tolist(), strict=True))
    assert len(chosen) == NUM_ACTIONS**2  # and lanes differ from one another


def test_a_successor_draws_no_number_of_its_predecessor_twice():
    """It continues at the tick where the other ended."""
    whole = Game(config_of(), many_lanes(3))
    whole.play(12)
    successor = Game(config_of(), many_lanes(3), first_tick=7)
    successor.play(5)  # the first is the head start again
    for theirs, ours in zip(whole.agent.noises[7:], successor.agent.noises, strict=True):
        np.testing.assert_array_equal(theirs, ours)
    assert whole.agent.tie_seeds[7:] == successor.agent.tie_seeds


def test_actors_break_ties_apart():
    games = [Game(config_of(), many_lanes(2, first_lane=first), first_lane=first) for first in (0, 2)]
    for game in games:
        game.play(6)
    assert not set(games[0].agent.tie_seeds) & set(games[1].agent.tie_seeds)
