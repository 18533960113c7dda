"""lstm_pointwise: both backends against torch's cell in float64."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kernels.lstm_cell import LSTMStep, lstm_pointwise, pack_weights
from tests.kernels.backends import BACKENDS, BF16_BACKENDS, watch
from tests.refusal import refusal

INPUTS, NODES, NODE = 9, 3, 1


def step(
    gates: torch.Tensor, bias: torch.Tensor, c: torch.Tensor, *, reset: torch.Tensor, device: torch.device, backend: str
) -> list[torch.Tensor]:
    """output, h and c of the node, on the CPU; no other node is written."""
    states = [torch.full((NODES, *c.shape), torch.nan, device=device, dtype=t) for t in (gates.dtype, torch.float32)]
    out = LSTMStep(torch.full(c.shape, torch.nan, dtype=gates.dtype, device=device), *states)
    node = torch.tensor([NODE], device=device)
    inputs = [tensor.to(device) for tensor in (gates, bias, c)]
    lstm_pointwise(*inputs, reset=reset.to(device), node=node, out=out, backend=backend)
    for all_nodes in states:
        assert all_nodes[[0, 2]].isnan().all()
    return [found.cpu() for found in (out.output, out.h[NODE], out.c[NODE])]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("batch", [1, 7, 63])
@pytest.mark.parametrize("hidden", [512, 13])
def test_agrees_with_torchs_cell_in_float64(monkeypatch, device, backend, batch, hidden):
    torch.manual_seed(batch)
    cell = nn.LSTMCell(INPUTS, hidden)
    x, h, c = 5.0 * torch.randn(batch, INPUTS), torch.rand(batch, hidden) * 2 - 1, 3.0 * torch.randn(batch, hidden)
    weight, bias = pack_weights(cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh, dtype=torch.float32)
    reset = torch.arange(batch) % 3 == 0
    seen = watch(monkeypatch, "kernels.lstm_cell", reference="lstm_pointwise", kernel="lstm_pointwise_kernel")
    gates = (torch.cat([x, h], 1) @ weight).detach()
    output, found_h, found_c = step(gates, bias.detach(), c, reset=reset, device=device, backend=backend)
    assert seen == [backend]
    expected_h, expected_c = cell.double()(x.double(), (h.double(), c.double()))
    kept = ~reset[:, None]
    torch.testing.assert_close(output.double(), expected_h, rtol=1e-6, atol=4e-6)
    torch.testing.assert_close(found_h.double(), expected_h * kept, rtol=1e-6, atol=4e-6)
    torch.testing.assert_close(found_c.double(), expected_c * kept, rtol=1e-6, atol=4e-6)


@pytest.mark.parametrize("backend", BF16_BACKENDS)
def test_bfloat16_gates_are_computed_with_in_float32(device, backend):
    torch.manual_seed(0)
    gates, c = (4.0 * torch.randn(63, 4 * 512)).bfloat16(), torch.randn(63, 512)
    how = {"reset": torch.zeros(63, dtype=torch.bool), "device": device, "backend": backend}
    output, _, found_c = step(gates, torch.full((4 * 512,), 0.1), c, **how)
    into, keep, candidate, expose = (gates.double() + 0.1).chunk(4, dim=1)
    expected_c = keep.sigmoid() * c.double() + into.sigmoid() * candidate.tanh()
    assert output.dtype == torch.bfloat16
    torch.testing.assert_close(found_c.double(), expected_c, rtol=1e-6, atol=4e-6)
    torch.testing.assert_close(output.double(), expose.sigmoid() * expected_c.tanh(), rtol=2**-8, atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_huge_gates_saturate_and_a_reset_clears_what_is_not_a_number(device, backend):
    gates = torch.tensor([[200.0, -200.0, 200.0, 200.0], [torch.nan] * 4, [0.0] * 4])
    c, reset = torch.tensor([[5.0], [1.0], [1.0]]), torch.tensor([False, True, False])
    output, found_h, found_c = step(gates, torch.zeros(4), c, reset=reset, device=device, backend=backend)
    torch.testing.assert_close(found_c, torch.tensor([[1.0], [0.0], [0.5]]))
    expected_h = torch.tensor([[torch.tanh(torch.tensor(1.0))], [0.0], [0.5 * torch.tanh(torch.tensor(0.5))]])
    torch.testing.assert_close(found_h, expected_h)
    assert output.isnan().flatten().tolist() == [False, True, False]


def test_misfits_are_refused():
    gates, bias, c, states = torch.zeros(3, 8), torch.zeros(8), torch.zeros(3, 2), torch.zeros(NODES, 3, 2)
    right = {"reset": c[:, 0] > 0, "node": torch.tensor([NODE]), "out": LSTMStep(c, states, states)}
    for named, wrong_gates, wrong_c, wrong in (
        ("[3, 7]", gates[:, :7], c, {}),
        ("float64", gates, c.double(), {}),
        ("reset is [3] torch.float32", gates, c, {"reset": c[:, 0]}),
        ("node is [2]", gates, c, {"node": torch.tensor([0, 1])}),
        ("out.output is [2, 2]", gates, c, {"out": LSTMStep(c[:2], states, states)}),
        ("out.h is [3, 3, 1]", gates, c, {"out": LSTMStep(c, states[..., :1], states)}),
    ):
        assert named in refusal(lstm_pointwise, wrong_gates, bias, wrong_c, **{**right, **wrong})
