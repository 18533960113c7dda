"""Parameters of several shapes, and random gradients for them, for tests of optimisers."""

import torch

SHAPES = [(3, 4), (5,), (2, 3, 2, 2), (), (1, 1), (4, 1)]


def random_parameters(shapes=SHAPES, *, seed: int = 0, dtype=torch.float32) -> list[torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)) for shape in shapes
    ]


def give_gradients(parameters, step: int) -> None:
    """Random ones, the same for the same shapes, from 1e-6 to 10 in size."""
    for i, parameter in enumerate(parameters):
        generator = torch.Generator().manual_seed(100 * step + i)
        size = 10.0 ** (torch.rand((), generator=generator, dtype=torch.float64) * 7 - 6)
        gradient = size * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        parameter.grad = gradient.to(parameter.dtype)


def train(optimizer: torch.optim.Optimizer, parameters, steps) -> None:
    for step in steps:
        give_gradients(parameters, step)
        optimizer.step()


def clipped_ratios(optimizer) -> list[float]:
    """Of Clipped LARS's last step, tensors without a gradient left out."""
    return [clipped for _, clipped in optimizer.trust_ratios_by_layer().values()]
