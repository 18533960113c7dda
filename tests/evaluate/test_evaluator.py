"""The evaluation protocol on real games, played by rules whose scores are known."""

import random
import sys
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import torch

from speedyzero.config import EnvConfig
from speedyzero.env.registry import make_env, try_game
from speedyzero.evaluate.evaluator import evaluate
from speedyzero.system.keyed_random import EVALUATE, seed_for
from tests.evaluate.fake_players import FakePlayer, always, balance, catch_columns, follow_the_ball, lean

CATCH = EnvConfig(game="Catch", stack=2)
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


def test_the_same_again():
    results = [evaluate(FakePlayer(balance, 2), CART_POLE, episodes=3, parallel_envs=3, seed=5) for _ in range(2)]
    assert str(results[0].to_json()) == str(results[1].to_json())
    other = evaluate(FakePlayer(always(0), 2), CART_POLE, episodes=8, parallel_envs=8, seed=6)
    assert other.episode_lengths.tolist() != (
        evaluate(FakePlayer(always(0), 2), CART_POLE, episodes=8, parallel_envs=8, seed=5).episode_lengths.tolist()
    )


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


def mixing(player: FakePlayer, shares: list[float]) -> FakePlayer:
    """The player with a policy that likes other actions too."""
    search = player.search

    def mixed(stacked, **how):
        result = search(stacked, **how)
        return replace(result, policy=torch.tensor([shares] * len(stacked)))

    player.search = mixed
    return player


def test_sampled_actions_are_the_policy_s_and_the_same_however_many_play():
    """Catch: which columns are reached tells what was done, 9 times a game."""
    whole = mixing(FakePlayer(always(1), 3), [0.0, 0.25, 0.75])
    result = evaluate(whole, CATCH, episodes=40, parallel_envs=40, action="sampled")
    assert result.protocol["action"] == "sampled"
    paddle = np.stack([catch_columns(batch)[1] for batch in whole.batches])  # [T, E], starts at 2, walls at 0 and 4
    moved = np.diff(paddle, axis=0)[:2]
    moved = moved[(paddle[:-1] < 4)[:2]]
    assert set(moved.tolist()) == {0, 1} and 0.6 < moved.mean() < 0.9
    by_seven = evaluate(
        mixing(FakePlayer(always(1), 3), [0.0, 0.25, 0.75]), CATCH, episodes=40, parallel_envs=7, action="sampled"
    )
    assert by_seven.episode_scores.tolist() == result.episode_scores.tolist()
    greedy = evaluate(mixing(FakePlayer(always(1), 3), [0.0, 0.25, 0.75]), CATCH, episodes=40, parallel_envs=40)
    assert greedy.protocol["action"] == "most visited"
    assert (
        greedy.episode_scores.tolist()
        == evaluate(FakePlayer(always(1), 3), CATCH, episodes=40, parallel_envs=40).episode_scores.tolist()
    )


def test_a_sure_policy_is_played_as_it_is_when_sampled():
    result = evaluate(FakePlayer(follow_the_ball, 3), CATCH, episodes=20, parallel_envs=20, action="sampled")
    assert result.episode_scores.tolist() == [1.0] * 20


def test_a_good_policy_is_cut_off_at_the_time_limit():
    result = evaluate(FakePlayer(balance, 2), CART_POLE, episodes=2, parallel_envs=2)
    assert result.episode_scores.tolist() == [500.0, 500.0]
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


def test_rewards_are_not_clipped():
    limited = EnvConfig(game="MsPacman", image_size_px=48, grayscale=True, stack=1, eval_limit_frames=600)
    result = evaluate(FakePlayer(always(3), 9), limited, episodes=1, parallel_envs=1)
    assert result.mean >= 20 and result.mean % 10 == 0  # a pill is worth 10 points


def test_the_frame_limit_of_evaluation_holds():
    limited = EnvConfig(game="Pong", image_size_px=48, grayscale=True, stack=1, eval_limit_frames=80)
    result = evaluate(FakePlayer(always(0), 6), limited, episodes=2, parallel_envs=2)
    assert result.episode_lengths.tolist() == [20, 20]
    assert result.protocol["truncated_episodes"] == 2


def test_a_game_without_a_limit_of_its_own_is_cut_off_all_the_same():
    gymnasium.register("speedyzero_test/Pole-v0", entry_point="gymnasium.envs.classic_control:CartPoleEnv")
    result = evaluate(
        FakePlayer(balance, 2),
        EnvConfig(game="speedyzero_test/Pole-v0", stack=1, eval_limit_frames=50),
        episodes=2,
        parallel_envs=2,
    )
    assert result.episode_lengths.tolist() == [50, 50]
    assert result.protocol["truncated_episodes"] == 2


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


@pytest.mark.parametrize(("episodes", "parallel_envs"), [(0, 1), (1, 0)])
def test_at_least_one(episodes, parallel_envs):
    with pytest.raises(ValueError, match="1 or more"):
        evaluate(FakePlayer(always(0), 3), CATCH, episodes=episodes, parallel_envs=parallel_envs)


def test_a_game_that_cannot_be_drawn(monkeypatch):
    try_game(CATCH, render=True)
    monkeypatch.setitem(sys.modules, "pygame", None)  # as if it were not installed
    with pytest.raises(ValueError, match="pygame"):
        try_game(CART_POLE, render=True)
