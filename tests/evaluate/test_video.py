"""Films are read back frame by frame."""

import imageio_ffmpeg
import numpy as np
import pytest

from speedyzero.config import EnvConfig
from speedyzero.env.registry import action_names, check_game
from speedyzero.evaluate.evaluator import evaluate
from speedyzero.evaluate.overlay import _PANEL_PX, Thought, beside
from speedyzero.evaluate.video import FRAMES_PER_SECOND, Film
from tests.evaluate.fake_players import FakePlayer, follow_the_ball
from tests.refusal import refusal


def read(path):
    """All frames, [N, H, W, 3] uint8, and what the file says of itself."""
    reader = imageio_ffmpeg.read_frames(str(path))
    meta = next(reader)
    width, height = meta["size"]
    return np.stack([np.frombuffer(frame, np.uint8).reshape(height, width, 3) for frame in reader]), meta


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
def test_the_first_episode_is_filmed_to_its_end(tmp_path, suffix):
    path = tmp_path / "videos" / f"out{suffix}"
    player = FakePlayer(follow_the_ball, 3)
    with Film(path) as film:
        evaluate(player, EnvConfig(game="Catch", stack=1), episodes=5, parallel_envs=2, film=film)
    frames, meta = read(path)
    assert len(frames) == film.frames == 10  # 9 steps and the final frame
    assert meta["duration"] == pytest.approx(10 / FRAMES_PER_SECOND, abs=0.05)
    # Shrunk to one pixel per field again, the film shows what lane 0 showed, the landed ball hidden by the paddle.
    pictures = frames[:, :, :-_PANEL_PX].mean(axis=3)
    side = pictures.shape[2] // 5
    boards = pictures[:, side // 2 :: side, side // 2 :: side][:, :10] > 128
    shown = np.stack([batch[0, 0, :, :, 0] > 0 for batch in player.batches[:9]])
    np.testing.assert_array_equal(boards[:9], shown)
    assert not boards[9, :9].any() and boards[9, 9].sum() == 1
    assert [path.name for path in path.parent.iterdir()] == [path.name]


def test_a_film_runs_as_fast_as_the_game_is_watched(tmp_path):
    with Film(tmp_path / "out.mp4", frames_per_second=5) as film:
        evaluate(
            FakePlayer(follow_the_ball, 3), EnvConfig(game="Catch", stack=1), episodes=1, parallel_envs=1, film=film
        )
    assert read(tmp_path / "out.mp4")[1]["duration"] == pytest.approx(10 / 5, abs=0.05)


ACTIONS = ("NOOP", "UPRIGHTFIRE", "DOWN")


def test_the_action_taken_stands_out():
    policy = np.array([0.25, 0.5, 0.25], np.float32)
    picture = np.zeros((80, 240, 3), np.uint8)
    drawn = [
        beside(picture, score=0.0, thought=Thought(1.0, policy, action), actions=ACTIONS)[:, -_PANEL_PX:].astype(int)
        for action in range(3)
    ]
    rows = [slice(6 + 14 * (i + 3), 6 + 14 * (i + 4)) for i in range(3)]
    for action, image in enumerate(drawn):
        oranges = [int((image[row, :, 0] > image[row, :, 2] + 100).sum()) for row in rows]
        assert np.argmax(oranges) == action and sorted(oranges)[:2] == [0, 0]


@pytest.mark.parametrize("game", ["Pong", "Alien", "Catch", "CartPole-v1", "MinAtar/Breakout-v1"])
def test_every_action_has_a_name_that_fits(game):
    from PIL import ImageFont

    config = EnvConfig(game=game)
    names = action_names(config)
    assert len(names) == len(set(names)) == check_game(config).num_actions
    assert max(ImageFont.load_default().getlength(name) for name in names) < 88


def test_a_film_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), Film(tmp_path / "out.mp4") as film:
        film.add(np.zeros((40, 40, 3), np.uint8), score=0, thought=None, actions=ACTIONS)
        raise RuntimeError
    assert not list(tmp_path.iterdir())


def test_what_is_no_film_is_refused(tmp_path):
    assert ".mp4 or .gif" in refusal(Film, tmp_path / "out.avi")
    with Film(tmp_path / "out.mp4") as film:
        film.add(np.zeros((40, 40, 3), np.uint8), score=0, thought=None, actions=ACTIONS)
        other = np.zeros((40, 42, 3), np.uint8)
        assert "shape" in refusal(film.add, other, score=0, thought=None, actions=ACTIONS)
