"""Gymnasium lanes: CartPole for real, and a scripted environment for what CartPole does not show."""

import importlib.util
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from speedyzero.config import EnvConfig
from speedyzero.env.registry import check_game, make_env, try_game
from speedyzero.system import keyed_random
from tests.refusal import refusal

CARTPOLE = EnvConfig(game="CartPole-v1", clip_reward="false")


class Scripted(gymnasium.Env):
    """Ends after 3 steps in the way that `end` says; pays 2.5 a step; shows what `space` says; logs actions."""

    metadata = {"render_modes": []}

    def __init__(self, end: str = "terminated", space: spaces.Space | None = None, render_mode: str | None = None):
        self.end = end
        self.observation_space = space or spaces.Box(-1.0, 1.0, (2, 3), np.float64)
        self.action_space = spaces.Discrete(4, start=5)
        self.actions: list[int] = []
        self.closed = False

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 0
        self.observation_space.seed(seed)
        self.observation = self.observation_space.sample()
        return self.observation, {}

    def step(self, action):
        self.actions.append(action)
        self.count += 1
        self.observation[...] = self.observation_space.sample()  # the same memory every time
        ended = self.count == 3
        return self.observation, 2.5, ended and "terminated" in self.end, ended and "truncated" in self.end, {}

    def close(self):
        self.closed = True


def scripted_id(**kwargs) -> str:
    name = f"speedyzero_test/Scripted{len(gymnasium.registry)}-v0"
    gymnasium.register(name, entry_point=Scripted, kwargs=kwargs)
    return name


def balance(frame: np.ndarray) -> np.ndarray:
    """A hand-made CartPole player. frame: [E, 4] -> action [E]."""
    position, speed, angle, angular_speed = frame.T
    return (angle + 0.3 * angular_speed + 0.05 * position + 0.1 * speed > 0).astype(np.int64)


def test_cartpole_truncated_at_500_and_over_when_it_falls():
    env = make_env(CARTPOLE, lanes=3, seed=0)
    frame = env.reset()
    assert frame.shape == (3, 4) and frame.dtype == np.float32
    fell_at = None
    for tick in range(1, 502):
        action = balance(frame)
        action[2] = 0  # lane 2 always pushes to the left
        step = env.step(action)
        frame = step.frame
        if fell_at is None and step.game_over[2]:
            fell_at = tick
            assert not step.truncated.any() and step.reward[2] == 1
        elif fell_at == tick - 1:
            assert step.started.tolist() == [False, False, True]
            assert step.reward.tolist() == [1, 1, 0] and not step.game_over.any()
        if tick < 500:
            assert not step.truncated.any() and not step.game_over[:2].any() and not step.life_lost.any()
        if tick == 500:
            assert step.truncated[:2].all() and not step.game_over[:2].any()
    assert fell_at is not None and 5 < fell_at < 15
    assert step.started[:2].all() and not step.truncated[:2].any()
    env.close()


def test_over_and_cut_off_at_once_is_over():
    for end, expected in (
        ("terminated", (True, False)),
        ("truncated", (False, True)),
        ("terminated truncated", (True, False)),
    ):
        env = make_env(replace(CARTPOLE, game=scripted_id(end=end)), lanes=1, seed=0)
        env.reset()
        steps = [env.step(np.array([0])) for _ in range(4)]
        assert [bool(s.game_over[0] or s.truncated[0]) for s in steps] == [False, False, True, False]
        assert (bool(steps[2].game_over[0]), bool(steps[2].truncated[0])) == expected
        assert [bool(s.started[0]) for s in steps] == [False, False, False, True]
        assert [float(s.raw_reward[0]) for s in steps] == [2.5, 2.5, 2.5, 0.0]


def test_games_are_seeded_by_lane_and_number():
    seed, lanes = 11, 3
    env = make_env(CARTPOLE, lanes=lanes, seed=seed)
    plain = gymnasium.make("CartPole-v1")

    def expected_first(lane: int, game: int) -> np.ndarray:
        return plain.reset(seed=keyed_random.seed_for(seed, keyed_random.ENV_SEED, lane, game))[0]

    frame, games = env.reset(), [0] * lanes
    rng = np.random.default_rng(0)
    for lane in range(lanes):
        np.testing.assert_array_equal(frame[lane], expected_first(lane, 0))
    for _ in range(150):
        step = env.step(rng.integers(0, 2, lanes))
        for lane in np.flatnonzero(step.started):
            games[lane] += 1
            np.testing.assert_array_equal(step.frame[lane], expected_first(lane, games[lane]))
    assert min(games) >= 3
    alone = make_env(CARTPOLE, lanes=1, seed=seed, first_lane=2)
    np.testing.assert_array_equal(alone.reset()[0], expected_first(2, 0))


def test_actions_begin_at_0_for_us():
    env = make_env(replace(CARTPOLE, game=scripted_id()), lanes=2, seed=0)
    assert env.num_actions == 4
    env.reset()
    for action in ([0, 3], [1, 2], [2, 1], [0, 0], [3, 0]):  # the fourth tick begins new games
        env.step(np.array(action))
    assert [scripted.unwrapped.actions for scripted in env._envs] == [[5, 6, 7, 8], [8, 7, 6, 5]]
    env.close()
    assert all(scripted.unwrapped.closed for scripted in env._envs)


@pytest.mark.parametrize(("clip_reward", "reward"), [("true", 1.0), ("false", 2.5), ("auto", 2.5)])
def test_reward_clipping(clip_reward, reward):
    env = make_env(replace(CARTPOLE, game=scripted_id(), clip_reward=clip_reward), lanes=1, seed=0)
    env.reset()
    step = env.step(np.array([0]))
    assert (step.reward[0], step.raw_reward[0]) == (reward, 2.5)
    assert step.reward.dtype == step.raw_reward.dtype == np.float32


def test_a_box_of_numbers_becomes_a_float32_vector_of_its_own():
    env = make_env(replace(CARTPOLE, game=scripted_id()), lanes=2, seed=0)
    frames = [env.reset()] + [env.step(np.zeros(2, np.int64)).frame for _ in range(3)]
    assert env.spec.shape == (6,) and all(f.shape == (2, 6) and f.dtype == np.float32 for f in frames)
    assert all((frames[0] != frame).all() for frame in frames[1:])  # the environment reuses its memory, we do not


@pytest.mark.parametrize(
    ("shape", "grayscale", "expected"),
    [
        ((40, 60, 3), False, (32, 32, 3)),
        ((40, 60, 3), True, (32, 32, 1)),
        ((32, 32), False, (32, 32, 1)),
        ((16, 16, 1), True, (32, 32, 1)),
    ],
)
def test_images_are_brought_to_size(shape, grayscale, expected):
    game = scripted_id(space=spaces.Box(0, 255, shape, np.uint8))
    config = replace(CARTPOLE, game=game, image_size_px=32, grayscale=grayscale)
    assert check_game(config).spec.shape == expected
    env = make_env(config, lanes=2, seed=0)
    frame = env.reset()
    assert frame.shape == (2, *expected) and frame.dtype == np.uint8 and env.spec.is_image
    if shape == (32, 32):
        np.testing.assert_array_equal(frame[1, :, :, 0], env._envs[1].unwrapped.observation)
    assert env.render(0).shape == (192, 192, 3)


@pytest.mark.parametrize("space", [
    spaces.Box(0, 255, (3, 32, 32), np.uint8), spaces.Text(5), spaces.Sequence(spaces.Discrete(3)),
    spaces.Dict(screen=spaces.Box(0, 255, (32, 32, 3), np.uint8)),
])  # fmt: skip
def test_unsupported_observations(space):
    game = scripted_id(space=space)
    assert game in refusal(check_game, replace(CARTPOLE, game=game))


def test_pictures_of_a_vector_environment():
    env = make_env(CARTPOLE, lanes=1, seed=0)
    env.reset()
    assert "render=True" in refusal(env.render, 0)
    if importlib.util.find_spec("pygame") is None:
        assert "gymnasium[classic" in refusal(try_game, CARTPOLE, render=True)
    else:
        drawn = make_env(CARTPOLE, lanes=2, seed=0, render=True)
        drawn.reset()
        assert drawn.render(1).shape == (400, 600, 3)
        drawn.close()
