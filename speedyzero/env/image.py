"""Image conversion: area resize and grey for observations, enlargement for videos.

Axes: H, W source height and width, h, w target height and width, C channels.
"""

import functools

import numpy as np

_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


@functools.cache
def _area_weights(source: int, target: int) -> np.ndarray:
    """The weight of each source pixel in each target pixel, [target, source] float32; rows sum to 1."""
    edges = np.arange(target + 1) * (source / target)
    pixel = np.arange(source)
    overlap = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    weights = np.maximum(overlap, 0.0)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def resize_area(image: np.ndarray, *, height_px: int, width_px: int) -> np.ndarray:
    """Each target pixel is the mean over the area that it covers. image: [H, W, C] uint8; returns [h, w, C] uint8."""
    height, width, channels = image.shape
    if (height, width) == (height_px, width_px):
        return image
    rows = _area_weights(height, height_px) @ image.reshape(height, width * channels).astype(np.float32)
    pixels = _area_weights(width, width_px) @ rows.reshape(height_px, width, channels)
    return np.rint(pixels).astype(np.uint8)


def to_gray(image: np.ndarray) -> np.ndarray:
    """Luminance of an RGB image, [H, W, 3] uint8 -> [H, W, 1] uint8."""
    return np.rint(image @ _LUMINANCE).astype(np.uint8)[..., None]


def picture(frame: np.ndarray, *, longest_side_px: int = 200) -> np.ndarray:
    """A frame as RGB, enlarged by an integer factor towards `longest_side_px`. [H, W, 1 or 3] -> [h, w, 3] uint8."""
    factor = max(1, longest_side_px // max(frame.shape[:2]))
    large = frame.repeat(factor, axis=0).repeat(factor, axis=1)
    return np.ascontiguousarray(np.broadcast_to(large, (*large.shape[:2], 3)))
