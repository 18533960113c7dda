"""lstm_cell: both backends against torch's cell in float64."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kernels.lstm_cell import LSTMStep, lstm_cell, lstm_pointwise, pack_weights
from tests.kernels.backends import BACKENDS, BF16_BACKENDS, watch
from tests.refusal import refusal

INPUTS = 9


def packed(cell: nn.LSTMCell, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    weight, bias = pack_weights(cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh, dtype=torch.float32)
    return weight.detach().to(device), bias.detach().to(device)


def a_step(batch: int, hidden: int) -> tuple[nn.LSTMCell, torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(batch)
    cell = nn.LSTMCell(INPUTS, hidden)
    return cell, 5.0 * torch.randn(batch, INPUTS), torch.rand(batch, hidden) * 2 - 1, 3.0 * torch.randn(batch, hidden)


def poisoned(batch: int, hidden: int, device: torch.device) -> LSTMStep:
    return LSTMStep(*(torch.full((batch, hidden), torch.nan, device=device) for _ in range(3)))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("batch", [1, 7, 63])
@pytest.mark.parametrize("hidden", [512, 13])
def test_agrees_with_torchs_cell_in_float64(monkeypatch, device, backend, batch, hidden):
    cell, x, h, c = a_step(batch, hidden)
    weight, bias = packed(cell, device)
    reset = torch.arange(batch) % 3 == 0
    out = poisoned(batch, hidden, device)
    seen = watch(monkeypatch, "kernels.lstm_cell", reference="lstm_pointwise", kernel="lstm_pointwise_kernel")
    found = lstm_cell(
        x.to(device), h.to(device), c.to(device), weight, bias, reset=reset.to(device), out=out, backend=backend
    )
    assert seen == [backend]
    assert found is out
    expected_h, expected_c = cell.double()(x.double(), (h.double(), c.double()))
    kept = ~reset[:, None]
    torch.testing.assert_close(found.output.cpu().double(), expected_h, rtol=1e-6, atol=4e-6)
    torch.testing.assert_close(found.h.cpu().double(), expected_h * kept, rtol=1e-6, atol=4e-6)
    torch.testing.assert_close(found.c.cpu().double(), expected_c * kept, rtol=1e-6, atol=4e-6)


@pytest.mark.parametrize("backend", BF16_BACKENDS)
def test_bfloat16_gates_are_computed_with_in_float32(device, backend):
    torch.manual_seed(0)
    gates, c = (4.0 * torch.randn(63, 4 * 512)).bfloat16().to(device), torch.randn(63, 512, device=device)
    found = lstm_pointwise(gates, torch.full((4 * 512,), 0.1, device=device), c, backend=backend)
    into, keep, candidate, expose = (gates.double() + 0.1).chunk(4, dim=1)
    expected_c = keep.sigmoid() * c.double() + into.sigmoid() * candidate.tanh()
    assert found.output.dtype == torch.bfloat16
    torch.testing.assert_close(found.c.double(), expected_c, rtol=1e-6, atol=4e-6)
    torch.testing.assert_close(found.output.double(), expose.sigmoid() * expected_c.tanh(), rtol=2**-8, atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_huge_gates_saturate_and_a_reset_clears_what_is_not_a_number(device, backend):
    gates = torch.tensor([[200.0, -200.0, 200.0, 200.0], [torch.nan] * 4, [0.0] * 4], device=device)
    c = torch.tensor([[5.0], [1.0], [1.0]], device=device)
    reset = torch.tensor([False, True, False], device=device)
    found = lstm_pointwise(gates, torch.zeros(4, device=device), c, reset=reset, backend=backend)
    torch.testing.assert_close(found.c.cpu(), torch.tensor([[1.0], [0.0], [0.5]]))
    torch.testing.assert_close(
        found.h.cpu(), torch.tensor([[torch.tanh(torch.tensor(1.0))], [0.0], [0.5 * torch.tanh(torch.tensor(0.5))]])
    )
    assert found.output.isnan().flatten().tolist() == [False, True, False]


def test_misfits_are_refused():
    gates, bias, c = torch.zeros(3, 8), torch.zeros(8), torch.zeros(3, 2)
    assert "[3, 7]" in refusal(lstm_pointwise, gates[:, :7], bias, c)
    assert "float64" in refusal(lstm_pointwise, gates, bias, c.double())
    assert "without resets" in refusal(lstm_pointwise, gates, bias, c, out=poisoned(3, 2, c.device))
    assert "[2, 2]" in refusal(lstm_pointwise, gates, bias, c, reset=c[:, 0] > 0, out=poisoned(2, 2, c.device))
    assert "5 columns" in refusal(lstm_cell, torch.zeros(3, 3), c, c, torch.zeros(6, 8), bias)
