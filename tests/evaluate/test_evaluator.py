"""The evaluation protocol on real games, played by rules whose scores are known."""

import random
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import torch

from speedyzero.config import EnvConfig
from speedyzero.env.registry import make_env
from speedyzero.evaluate.evaluator import evaluate
from speedyzero.system.keyed_random import EVALUATE, seed_for
from tests.evaluate.fake_players import FakePlayer, always, balance, catch_columns, follow_the_ball, lean

gymnasium.register("speedyzero_test/Pole-v0", entry_point="gymnasium.envs.classic_control:CartPoleEnv")
CATCH = EnvConfig(game="Catch", stack=2)
SMALL = {"image_size_px": 48, "grayscale": True, "stack": 1}
CART_POLE = EnvConfig(game="CartPole-v1", stack=1, clip_reward="true")
BREAKOUT = EnvConfig(game="Breakout", image_size_px=48, grayscale=True, stack=2)


def test_who_follows_the_ball_catches_it_every_time():
    result = evaluate(FakePlayer(follow_the_ball, 3), CATCH, episodes=20, parallel_envs=20)
    assert result.episode_scores.tolist() == [1.0] * 20
    assert result.episode_lengths.tolist() == [9] * 20
    assert (result.mean, result.std, result.ci95, result.human_normalised) == (1.0, 0.0, (1.0, 1.0), None)


@pytest.mark.parametrize(("action", "caught_column"), [(0, 0), (1, 2), (2, 4)])
def test_a_constant_action_catches_one_column(action, caught_column):
    """The paddle starts at column 2 and has 9 steps: it ends at the left wall, stays, or ends at the right wall."""
    player = FakePlayer(always(action), 3)
    result = evaluate(player, CATCH, episodes=40, parallel_envs=40)
    ball, paddle = catch_columns(player.batches[0])
    assert paddle.tolist() == [2] * 40 and set(ball) == {0, 1, 2, 3, 4}
    assert result.episode_scores.tolist() == [1.0 if column == caught_column else -1.0 for column in ball]
    assert result.mean == pytest.approx((2 * (ball == caught_column).sum() - 40) / 40)


@pytest.mark.parametrize("parallel_envs", [1, 3, 7, 50])
def test_scores_do_not_depend_on_how_many_play_side_by_side(parallel_envs):
    whole = evaluate(FakePlayer(lean, 2), CART_POLE, episodes=7, parallel_envs=7)
    assert len(set(whole.episode_lengths.tolist())) > 1, "lanes that finish at different times are what is tested"
    other = evaluate(FakePlayer(lean, 2), CART_POLE, episodes=7, parallel_envs=parallel_envs)
    assert other.episode_scores.tolist() == whole.episode_scores.tolist()
    assert other.episode_lengths.tolist() == whole.episode_lengths.tolist()


def test_finished_lanes_are_not_searched_for():
    player = FakePlayer(lean, 2)
    result = evaluate(player, CART_POLE, episodes=12, parallel_envs=12)
    sizes = [len(batch) for batch in player.batches]
    expected = [int((result.episode_lengths > tick).sum()) for tick in range(result.episode_lengths.max())]
    assert sizes == expected and len(set(sizes)) > 2
    assert player.tie_seeds == list(range(len(sizes)))


class Mixing(FakePlayer):
    """Always stays, with a policy that likes other actions too."""

    def __init__(self):
        super().__init__(always(1), 3)

    def search(self, stacked, **how):
        return replace(super().search(stacked, **how), policy=torch.tensor([[0.0, 0.25, 0.75]] * len(stacked)))


def test_sampled_actions_are_the_policy_s_and_the_same_however_many_play():
    """Catch: which columns are reached tells what was done, 9 times a game."""
    whole = Mixing()
    result = evaluate(whole, CATCH, episodes=40, parallel_envs=40, action="sampled")
    assert result.protocol["action"] == "sampled"
    paddle = np.stack([catch_columns(batch)[1] for batch in whole.batches])  # [T, E], starts at 2, walls at 0 and 4
    moved = np.diff(paddle, axis=0)[:2]
    moved = moved[(paddle[:-1] < 4)[:2]]
    assert set(moved.tolist()) == {0, 1} and 0.6 < moved.mean() < 0.9
    by_seven = evaluate(Mixing(), CATCH, episodes=40, parallel_envs=7, action="sampled")
    assert by_seven.episode_scores.tolist() == result.episode_scores.tolist()
    greedy, plain = (
        evaluate(player, CATCH, episodes=40, parallel_envs=40) for player in (Mixing(), FakePlayer(always(1), 3))
    )
    assert greedy.protocol["action"] == "most visited"
    assert greedy.episode_scores.tolist() == plain.episode_scores.tolist()


def test_rewards_are_not_clipped():
    limited = EnvConfig(game="MsPacman", eval_limit_frames=600, **SMALL)
    result = evaluate(FakePlayer(always(3), 9), limited, episodes=1, parallel_envs=1)
    assert result.mean >= 20 and result.mean % 10 == 0  # a pill is worth 10 points


@pytest.mark.parametrize(
    ("config", "player", "ticks"),
    [
        (CART_POLE, FakePlayer(balance, 2), 500),
        (EnvConfig(game="Pong", eval_limit_frames=80, **SMALL), FakePlayer(always(0), 6), 20),
        (EnvConfig(game="speedyzero_test/Pole-v0", stack=1, eval_limit_frames=50), FakePlayer(balance, 2), 50),
    ],
    ids=["the game's own", "the setting", "of a game without"],
)
def test_limits_cut_off(config, player, ticks):
    result = evaluate(player, config, episodes=2, parallel_envs=2)
    assert result.episode_lengths.tolist() == [ticks, ticks]
    assert result.protocol["truncated_episodes"] == 2


def test_evaluation_games_are_not_training_games():
    def first_observations(env):
        frames = env.reset()
        env.close()
        return {frame.tobytes() for frame in frames}

    player = FakePlayer(always(0), 2)
    evaluate(player, CART_POLE, episodes=32, parallel_envs=32)
    evaluated = {frame.tobytes() for frame in player.batches[0][:, -1]}
    assert len(evaluated) == 32
    for seed in range(20):
        assert not evaluated & first_observations(make_env(CART_POLE, lanes=32, seed=seed))


def test_evaluating_changes_nothing_that_training_draws_from():
    def state():
        return random.getstate(), np.random.get_state()[1].tolist(), np.random.get_state()[2], torch.get_rng_state()

    def train_ticks(between):
        env = make_env(CART_POLE, lanes=2, seed=0)
        frames = [env.reset()]
        for tick in range(30):
            if tick == 15:
                between()
            frames.append(env.step(np.full(2, tick % 2)).frame)
        env.close()
        return np.stack(frames)

    before = state()
    disturbed = train_ticks(lambda: evaluate(FakePlayer(always(0), 2), CART_POLE, episodes=4, parallel_envs=2))
    np.testing.assert_array_equal(disturbed, train_ticks(lambda: None))
    after = state()
    assert before[:3] == after[:3] and torch.equal(before[3], after[3])


def test_a_game_goes_on_through_lost_lives_and_scores_are_raw():
    """Breakout, always FIRE: the same games played by hand in the training environment, which reports lost lives."""
    result = evaluate(FakePlayer(always(1), 4), BREAKOUT, episodes=2, parallel_envs=2)
    env = make_env(BREAKOUT, lanes=2, seed=seed_for(0, EVALUATE))
    env.reset()
    score, lives_lost, ticks, over = np.zeros(2), np.zeros(2), np.zeros(2), np.zeros(2, bool)
    while not over.all():
        step = env.step(np.ones(2, np.int64))
        score += step.raw_reward * ~over
        lives_lost += step.life_lost & ~over
        ticks += ~over
        over |= step.game_over
    env.close()
    assert lives_lost.tolist() == [4, 4]
    assert result.episode_scores.tolist() == score.tolist()
    assert result.episode_lengths.tolist() == ticks.tolist()
    assert result.human_normalised == pytest.approx((score.mean() - 1.7) / (30.5 - 1.7))


def test_the_stack_repeats_the_first_frame_and_then_moves():
    player = FakePlayer(follow_the_ball, 3)
    evaluate(player, CATCH, episodes=3, parallel_envs=3)
    np.testing.assert_array_equal(player.batches[0][:, 0], player.batches[0][:, 1])
    for older, newer in zip(player.batches[:-1], player.batches[1:], strict=True):
        np.testing.assert_array_equal(newer[:, 0], older[:, 1])


@pytest.mark.parametrize(("asked", "reported"), [(0, 7), (3, 3)])
def test_the_protocol_says_how_many_simulations(asked, reported):
    player = FakePlayer(follow_the_ball, 3)
    result = evaluate(player, CATCH, episodes=2, parallel_envs=2, simulations=asked)
    assert player.simulations == {asked}
    assert result.protocol["simulations"] == reported
    assert "frame_skip" not in result.protocol, "Catch skips no frames"
