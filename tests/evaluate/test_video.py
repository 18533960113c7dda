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


def panel(score: float, thought: Thought | None, picture: np.ndarray | None = None) -> np.ndarray:
    picture = np.zeros((80, 240, 3), np.uint8) if picture is None else picture
    return beside(picture, score=score, thought=thought, actions=ACTIONS)[:, -_PANEL_PX:]


def widths(panel: np.ndarray) -> list[int]:
    """Of the bar of each action, in pixels."""
    bars = panel[:, 94:174].astype(int)
    is_bar = (bars.max(axis=2) > 100) & (bars.min(axis=2) < 200)  # text is nearly white
    rows = [is_bar[6 + 14 * (i + 3) + 5] for i in range(len(ACTIONS))]
    return [int(row.sum()) for row in rows]


def test_the_search_s_policy_is_drawn_as_bars_of_its_length():
    policy = np.array([0.25, 0.5, 0.25], np.float32)
    drawn = panel(0.0, Thought(1.0, policy, action=1))
    assert widths(drawn) == pytest.approx([21, 41, 21], abs=1)
    certain = panel(0.0, Thought(1.0, np.array([0, 0, 1.0], np.float32), action=2))
    assert widths(certain) == pytest.approx([1, 1, 80], abs=1)


def test_the_action_taken_stands_out():
    policy = np.array([0.25, 0.5, 0.25], np.float32)
    drawn = [panel(0.0, Thought(1.0, policy, action=action)).astype(int) for action in range(3)]
    rows = [slice(6 + 14 * (i + 3), 6 + 14 * (i + 4)) for i in range(3)]
    for action, image in enumerate(drawn):
        oranges = [int((image[row, :, 0] > image[row, :, 2] + 100).sum()) for row in rows]
        assert np.argmax(oranges) == action and sorted(oranges)[:2] == [0, 0]


def test_score_and_value_are_drawn():
    policy = np.array([0.25, 0.5, 0.25], np.float32)
    first, second = slice(6, 20), slice(20, 34)
    base = panel(1.0, Thought(1.0, policy, action=0))
    other_score, other_value = panel(2.0, Thought(1.0, policy, action=0)), panel(1.0, Thought(-3.0, policy, action=0))
    assert (base[first] != other_score[first]).any() and (base[second] == other_score[second]).all()
    assert (base[second] != other_value[second]).any() and (base[first] == other_value[first]).all()
    past_the_end = panel(1.0, None)
    assert (past_the_end[first] == base[first]).all() and not past_the_end[second.start :].any()


@pytest.mark.parametrize("shape", [(101, 75, 3), (300, 301, 3), (20, 500, 3)])
def test_the_picture_stands_whole_at_the_left(shape):
    picture = np.full(shape, 7, np.uint8)
    frame = beside(picture, score=0.0, thought=None, actions=ACTIONS)
    enlarge = -(-240 // shape[1])
    assert frame.shape[0] % 2 == frame.shape[1] % 2 == 0
    height, width = enlarge * shape[0], enlarge * shape[1]
    np.testing.assert_array_equal(frame[:height, :width], np.full((height, width, 3), 7))


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


def test_frames_of_two_sizes_are_refused(tmp_path):
    with pytest.raises(ValueError, match="shape"), Film(tmp_path / "out.mp4") as film:
        film.add(np.zeros((40, 40, 3), np.uint8), score=0, thought=None, actions=ACTIONS)
        film.add(np.zeros((40, 42, 3), np.uint8), score=0, thought=None, actions=ACTIONS)


def test_other_suffixes_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"\.mp4 or \.gif"):
        Film(tmp_path / "out.avi")
