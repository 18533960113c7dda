"""Stacked frames as a network reads them."""

import torch

from speedyzero.model.observation import to_network_input


def test_images():
    """Channels: frames oldest first, each R, G, B; pixels divided by 255."""
    stacked = torch.randint(256, (2, 4, 5, 6, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    observation = to_network_input(stacked)
    assert observation.shape == (2, 12, 5, 6) and observation.dtype == torch.float32
    assert observation.is_contiguous(memory_format=torch.channels_last)
    for frame in range(4):
        for channel in range(3):
            expected = stacked[:, frame, :, :, channel].double() / 255
            actual = observation[:, 3 * frame + channel].double()
            torch.testing.assert_close(actual, expected, rtol=1e-6, atol=0)


def test_vectors():
    stacked = torch.arange(12.0).view(2, 2, 3)
    assert to_network_input(stacked).tolist() == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]]
