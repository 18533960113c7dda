import numpy as np
import pytest
from ale_py.vector_env import AtariVectorEnv

from speedyzero.env.image import picture, resize_area, to_gray


def test_halving_is_the_mean_of_four_pixels():
    image = np.arange(8, dtype=np.uint8).reshape(2, 4, 1) * 10
    #  0 10 20 30        (0 + 10 + 40 + 50) / 4 = 25,  (20 + 30 + 60 + 70) / 4 = 45
    # 40 50 60 70
    assert resize_area(image, height_px=1, width_px=2).tolist() == [[[25], [45]]]


def test_a_pixel_cut_in_two_counts_for_both_sides():
    image = np.array([[[0], [90], [255]]], np.uint8)
    # 3 -> 2 pixels of 1.5 each: (0 + 0.5 * 90) / 1.5 = 30, (0.5 * 90 + 255) / 1.5 = 200
    assert resize_area(image, height_px=1, width_px=2).tolist() == [[[30], [200]]]


def test_enlarging_by_a_whole_number_repeats_pixels():
    image = np.random.default_rng(0).integers(0, 256, (3, 5, 3), np.uint8)
    np.testing.assert_array_equal(
        resize_area(image, height_px=6, width_px=15), image.repeat(2, axis=0).repeat(3, axis=1)
    )


@pytest.mark.parametrize("size", [48, 96])
def test_agrees_with_the_atari_librarys_own_resize(size):
    """OpenCV's INTER_AREA inside ale-py, on a real frame, to one level of rounding."""
    height, width = 210, 160

    def first_frame(height_px: int, width_px: int) -> np.ndarray:
        env = AtariVectorEnv("pong", 1, img_height=height_px, img_width=width_px, grayscale=False, stack_num=1)
        return env.reset(seed=3)[0][0, 0]

    ours = resize_area(first_frame(height, width), height_px=size, width_px=size).astype(int)
    assert np.abs(ours - first_frame(size, size)).max() <= 1


def test_gray_is_luminance():
    image = np.array([[[255, 255, 255], [100, 0, 0], [0, 100, 0], [0, 0, 100]]], np.uint8)
    assert to_gray(image)[0, :, 0].tolist() == [255, 30, 59, 11]


@pytest.mark.parametrize(
    ("shape", "expected"), [((96, 96, 3), (192, 192)), ((10, 5, 1), (200, 100)), ((210, 160, 3), (210, 160))]
)
def test_picture_is_rgb_and_large_enough_to_see(shape, expected):
    frame = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    large = picture(frame)
    assert large.shape == (*expected, 3) and large.dtype == np.uint8
    factor = expected[0] // shape[0]
    np.testing.assert_array_equal(large[::factor, ::factor], np.broadcast_to(frame, (*shape[:2], 3)))
