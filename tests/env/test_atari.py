"""Flags, seeds and frames of Atari lanes on real games, against the emulator library used directly."""

import weakref
from dataclasses import dataclass, replace

import numpy as np
import pytest
from ale_py.vector_env import AtariVectorEnv

from speedyzero.config import EnvConfig
from speedyzero.env.atari import AtariLanes
from speedyzero.env.base import EnvStep
from speedyzero.system import keyed_random

SMALL = EnvConfig(game="Breakout", image_size_px=32, grayscale=True)
BREAKOUT_LIVES = 5


@dataclass(frozen=True)
class LibraryStep:
    frame: np.ndarray  # [H, W]
    reward: int
    terminated: bool  # with life_loss_info: the game is over or a life is lost
    lives: int


def library_game(rom: str, *, seed: int, lane: int, game: int, actions: np.ndarray) -> list[LibraryStep]:
    """One game from its first frame on, without any limit. Stops at the game's end."""
    env = AtariVectorEnv(
        rom, 1, img_height=32, img_width=32, stack_num=1, use_fire_reset=False, life_loss_info=True,
        reward_clipping=False, max_num_frames_per_episode=10**6,
    )  # fmt: skip
    emulator_seed = keyed_random.seed_for(seed, keyed_random.ENV_SEED, lane, game)
    frame, info = env.reset(seed=np.array([emulator_seed]))
    steps = [LibraryStep(frame[0, 0], 0, False, int(info["lives"][0]))]
    for action in actions:
        frame, reward, terminated, _, info = env.step(np.array([action]))
        steps.append(LibraryStep(frame[0, 0], int(reward[0]), bool(terminated[0]), int(info["lives"][0])))
        if terminated[0] and steps[-1].lives == 0:
            break
    return steps


def random_actions(ticks: int, lanes: int = 1, *, num_actions: int = 4, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, num_actions, (ticks, lanes))


def play(env: AtariLanes, actions: np.ndarray) -> list[EnvStep]:
    """actions: [T, E]."""
    return [env.step(action) for action in actions]


def flags(step: EnvStep, lane: int = 0) -> set[str]:
    return {name for name in ("game_over", "life_lost", "truncated", "started") if getattr(step, name)[lane]}


def test_lives_of_breakout():
    """Every tick of three whole games: frames, rewards, lost lives and true ends are the emulator's."""
    env = AtariLanes(SMALL, "breakout", lanes=1, seed=5)
    actions = random_actions(600)
    frames = [env.reset()[0, :, :, 0]]
    steps = play(env, actions)
    env.close()
    begins = [0, *(tick + 1 for tick, step in enumerate(steps) if step.started[0])]
    assert len(begins) >= 3
    frames += [step.frame[0, :, :, 0] for step in steps]
    for game, begin in enumerate(begins[:3]):
        expected = library_game("breakout", seed=5, lane=0, game=game, actions=actions[begin:, 0])
        np.testing.assert_array_equal(frames[begin], expected[0].frame)
        lost = 0
        for step, before, after in zip(steps[begin:], expected[:-1], expected[1:], strict=False):
            np.testing.assert_array_equal(step.frame[0, :, :, 0], after.frame)
            assert step.raw_reward[0] == after.reward
            assert step.life_lost[0] == (after.lives < before.lives and after.lives > 0)
            assert step.game_over[0] == (after.lives == 0)
            assert (step.life_lost[0] or step.game_over[0]) == after.terminated
            lost += step.life_lost[0]
        if game < 2:
            assert lost == BREAKOUT_LIVES - 1
            assert flags(steps[begin + len(expected) - 2]) == {"game_over"}
            assert flags(steps[begin + len(expected) - 1]) == {"started"}


def test_a_last_life_played_at_0_lives():
    """Frogger plays on at 0 lives: by the library's and the reference's rule that drop is no lost life."""
    actions = random_actions(400, num_actions=5, seed=1)
    expected = library_game("frogger", seed=1, lane=0, game=0, actions=actions[:, 0])
    assert sum(step.lives == 0 for step in expected) > 2 and expected[-1].terminated
    env = AtariLanes(SMALL, "frogger", lanes=1, seed=1)
    env.reset()
    steps = play(env, actions[: len(expected) - 1])
    env.close()
    assert [bool(step.life_lost[0] or step.game_over[0]) for step in steps] == [s.terminated for s in expected[1:]]
    assert flags(steps[-1]) == {"game_over"}


def test_started_ticks_ignore_the_action_and_bring_no_reward():
    def games(started_action: int) -> list[EnvStep]:
        config = replace(SMALL, train_limit_frames=60)
        env = AtariLanes(config, "breakout", lanes=2, seed=1)
        env.reset()
        actions = random_actions(60, 2)
        actions[15::16] = started_action
        steps = play(env, actions)
        env.close()
        return steps

    steps, others = games(0), games(3)
    assert [tick for tick, step in enumerate(steps) if step.started.any()] == [15, 31, 47]
    for step, other in zip(steps, others, strict=True):
        np.testing.assert_array_equal(step.frame, other.frame)
        if step.started.any():
            assert flags(step, 0) == flags(step, 1) == {"started"}
            assert not step.reward.any() and not step.raw_reward.any()


@pytest.mark.parametrize("limit_frames", [160, 158])
def test_truncation_comes_with_a_clean_frame(limit_frames):
    env = AtariLanes(replace(SMALL, train_limit_frames=limit_frames), "pong", lanes=1, seed=2)
    env.reset()
    actions = random_actions(41, num_actions=6)
    steps = play(env, actions)
    env.close()
    expected = library_game("pong", seed=2, lane=0, game=0, actions=actions[:40, 0])
    assert [flags(step) for step in steps] == [set()] * 39 + [{"truncated"}, {"started"}]
    np.testing.assert_array_equal(steps[39].frame[0, :, :, 0], expected[40].frame)


def test_a_limit_in_the_tick_of_a_lost_life_or_of_the_end():
    actions = random_actions(300)
    whole = library_game("breakout", seed=3, lane=0, game=0, actions=actions[:, 0])
    first_loss = next(tick for tick, step in enumerate(whole) if step.lives < BREAKOUT_LIVES)
    for tick, expected in ((first_loss, {"truncated"}), (len(whole) - 1, {"game_over"})):
        env = AtariLanes(replace(SMALL, train_limit_frames=tick * 4), "breakout", lanes=1, seed=3)
        env.reset()
        steps = play(env, actions[: tick + 1])
        assert env._lives == BREAKOUT_LIVES  # the new game's, which the next tick compares with
        env.close()
        assert flags(steps[tick - 1]) == expected
        assert flags(steps[tick]) == {"started"}


@pytest.mark.parametrize("clip_reward", ["true", "false"])
@pytest.mark.parametrize(("game", "num_actions", "extreme"), [("assault", 7, 21.0), ("pong", 6, -1.0)])
def test_reward_clipping_keeps_the_sign_and_the_raw_reward(game, num_actions, extreme, clip_reward):
    env = AtariLanes(replace(SMALL, clip_reward=clip_reward), game, lanes=2, seed=0)
    env.reset()
    steps = play(env, random_actions(150, 2, num_actions=num_actions))
    env.close()
    raw, learned = (np.concatenate([getattr(step, name) for step in steps]) for name in ("raw_reward", "reward"))
    assert raw.dtype == learned.dtype == np.float32 and extreme in raw
    np.testing.assert_array_equal(learned, np.sign(raw) if clip_reward == "true" else raw)


def test_lives_can_be_ignored():
    """The same game, lost lives unmentioned, up to its true end. In evaluation: tests/evaluate/test_evaluator.py."""
    env = AtariLanes(replace(SMALL, life_loss_is_terminal=False), "breakout", lanes=1, seed=3)
    env.reset()
    actions = random_actions(300)
    steps = play(env, actions)
    env.close()
    expected = library_game("breakout", seed=3, lane=0, game=0, actions=actions[:, 0])
    assert not any(step.life_lost.any() or step.truncated.any() for step in steps)
    assert next(tick for tick, step in enumerate(steps, start=1) if step.game_over[0]) == len(expected) - 1
    np.testing.assert_array_equal(steps[len(expected) - 2].frame[0, :, :, 0], expected[-1].frame)


@pytest.mark.parametrize("grayscale", [False, True])
def test_frames_pictures_and_their_memory(grayscale):
    env = AtariLanes(EnvConfig(grayscale=grayscale), "pong", lanes=2, seed=0)
    channels = 1 if grayscale else 3
    assert (env.num_lanes, env.num_actions, env.spec.shape) == (2, 6, (96, 96, channels))
    frames = [env.reset()] + [step.frame for step in play(env, random_actions(30, 2, num_actions=6))]
    kept = [frame.copy() for frame in frames[:-1]]
    play(env, random_actions(5, 2, num_actions=6))
    for frame, copy in zip(frames, kept, strict=False):
        assert frame.shape == (2, 96, 96, channels) and frame.dtype == np.uint8 and frame.flags.c_contiguous
        np.testing.assert_array_equal(frame, copy)
    if not grayscale:
        # Pong's paddles are orange (left) and green (right): red, green, blue in this order.
        red, green, blue = (frames[-1][0, ..., channel].astype(int) for channel in range(3))
        assert ((red > green + 40) & (green > blue)).any() and ((green > red + 40) & (green > blue + 40)).any()
    assert env.render(1).shape == (192, 192, 3)
    env.close()


def test_close_lets_go_of_the_emulators():
    """Their threads end with the library's object; counting threads would race with the kernel."""
    env = AtariLanes(SMALL, "breakout", lanes=2, seed=0)
    env.reset()
    library = weakref.ref(env._env)
    env.close()
    assert library() is None


def test_sticky_actions_repeat_what_was_done_and_play_again_the_same():
    def frames(sticky: float, seed: int = 0) -> np.ndarray:
        env = AtariLanes(replace(SMALL, sticky_actions=sticky), "breakout", lanes=1, seed=seed)
        shown = [env.reset()] + [env.step(np.array([2 + tick % 2])).frame for tick in range(30)]
        env.close()
        return np.stack(shown)

    sticky = frames(0.25)
    np.testing.assert_array_equal(sticky, frames(0.25))
    assert (sticky != frames(0.0)).any()
