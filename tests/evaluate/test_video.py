"""Films are read back frame by frame."""

import imageio_ffmpeg
import numpy as np
import pytest

from speedyzero.config import EnvConfig
from speedyzero.evaluate.evaluator import evaluate
from speedyzero.evaluate.video import _STRIP_PX, FRAMES_PER_SECOND, Film, annotate
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
    pictures = frames[:, _STRIP_PX:].mean(axis=3)
    side = pictures.shape[2] // 5
    boards = pictures[:, side // 2 :: side, side // 2 :: side][:, :10] > 128
    shown = np.stack([batch[0, 0, :, :, 0] > 0 for batch in player.batches[:9]])
    np.testing.assert_array_equal(boards[:9], shown)
    assert not boards[9, :9].any() and boards[9, 9].sum() == 1
    assert [path.name for path in path.parent.iterdir()] == [path.name]


def test_score_and_value_are_drawn():
    picture = np.full((101, 75, 3), 7, np.uint8)
    frames = [annotate(picture, text) for text in ("", "score 1", "score 2")]
    assert all(frame.shape[0] % 2 == frame.shape[1] % 2 == 0 for frame in frames)
    assert not frames[0][:_STRIP_PX].any()
    assert frames[1][:_STRIP_PX].any() and (frames[1] != frames[2]).any()
    np.testing.assert_array_equal(frames[1][_STRIP_PX : _STRIP_PX + 404, :300], np.full((404, 300, 3), 7))


def test_a_film_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), Film(tmp_path / "out.mp4") as film:
        film.add(np.zeros((40, 40, 3), np.uint8), score=0, value=0.0)
        raise RuntimeError
    assert not list(tmp_path.iterdir())


def test_frames_of_two_sizes_are_refused(tmp_path):
    with pytest.raises(ValueError, match="shape"), Film(tmp_path / "out.mp4") as film:
        film.add(np.zeros((40, 40, 3), np.uint8), score=0, value=0.0)
        film.add(np.zeros((40, 42, 3), np.uint8), score=0, value=0.0)


def test_other_suffixes_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"\.mp4 or \.gif"):
        Film(tmp_path / "out.avi")
