"""Choosing between the step and what was before it, exactly."""

import math

import pytest
import torch

from speedyzero.learner.undo import Undo


def tensors() -> list[torch.Tensor]:
    """Odd sizes, channels last, a number without axes, a counter, an empty one."""
    generator = torch.Generator().manual_seed(0)
    floats = [torch.randn(shape, generator=generator) for shape in [(3, 5), (17,), (), (2, 3, 4, 5), (0,)]]
    floats[3] = floats[3].contiguous(memory_format=torch.channels_last)
    return [*floats, torch.tensor(7), torch.arange(6).view(2, 3), torch.randn(4, generator=generator).double()]


def change(everything: list[torch.Tensor], number: float) -> None:
    for tensor in everything:
        tensor.mul_(3).add_(1)
        if tensor.is_floating_point():
            tensor.masked_fill_(~(tensor <= 1.5), number)


@pytest.mark.parametrize("number", [0.1, math.nan, math.inf, -math.inf])
def test_a_bad_step_is_undone_to_the_bit(number):
    everything = tensors()
    before, places = [t.clone() for t in everything], [t.data_ptr() for t in everything]
    undo = Undo(everything)
    for _ in range(2):
        undo.keep()
        change(everything, number)
        undo.restore_unless(torch.tensor(False))
        assert all(torch.equal(tensor, kept) for tensor, kept in zip(everything, before, strict=True))
    assert [t.data_ptr() for t in everything] == places


def test_a_good_step_stays_whatever_was_before():
    everything = tensors()
    everything[0][1, 1] = math.nan  # of no concern: the new number counts
    undo = Undo(everything)
    undo.keep()
    change(everything, 0.25)
    after = [tensor.clone() for tensor in everything]
    undo.restore_unless(torch.tensor(True))
    assert all(torch.equal(tensor, kept) for tensor, kept in zip(everything, after, strict=True))
    undo.keep()  # from here on, this is what was before
    change(everything, math.nan)
    undo.restore_unless(torch.tensor(False))
    assert all(torch.equal(tensor, kept) for tensor, kept in zip(everything, after, strict=True))


def test_parameters_keep_their_graph():
    parameter = torch.nn.Parameter(torch.ones(3))
    undo = Undo([parameter])
    undo.keep()
    with torch.no_grad():
        parameter.add_(1)
    undo.restore_unless(torch.tensor(False))
    assert parameter.tolist() == [1.0, 1.0, 1.0] and parameter.requires_grad and parameter.grad_fn is None
