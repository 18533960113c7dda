"""decode_head: both backends against float64 and the textbook inverse, and the model's codec."""

from __future__ import annotations

import pytest
import torch

from kernels.decode_head import decode_head
from speedyzero.config import CodecConfig
from speedyzero.model.codec import ScalarCodec
from tests.kernels.backends import BACKENDS, BF16_BACKENDS, watch
from tests.refusal import refusal

EPSILON = 0.001


def expected_bin(logits: torch.Tensor, step: float) -> torch.Tensor:
    """The distribution's mean in h(x), float64."""
    return torch.softmax(logits.double(), 1) @ support(logits, step)


def support(logits: torch.Tensor, step: float) -> torch.Tensor:
    bins = logits.shape[1]
    return (torch.arange(bins, dtype=torch.float64, device=logits.device) - bins // 2) * step


def textbook_unsquash(y: torch.Tensor) -> torch.Tensor:
    root = torch.sqrt(1.0 + 4.0 * EPSILON * (y.abs() + 1.0 + EPSILON))
    return torch.sign(y) * (((root - 1.0) / (2.0 * EPSILON)) ** 2 - 1.0)


def assert_decodes(found: torch.Tensor, logits: torch.Tensor, step: float) -> None:
    """Compared in h(x): a sum of float32 is as good as its largest terms, the distances of the likely bins."""
    assert found.dtype == torch.float32 and found.shape == logits.shape[:1]
    x = found.double()
    squashed = torch.sign(x) * (torch.sqrt(x.abs() + 1.0) - 1.0) + EPSILON * x
    distance = torch.softmax(logits.double(), 1) @ support(logits, step).abs()
    error = (squashed - expected_bin(logits, step)).abs() / distance
    assert error.max() < 4e-6, error.max()


def a_head(batch: int, inputs: int, bins: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(batch)
    hidden = torch.rand(batch, inputs, generator=generator) * 4.0
    weight, bias = 0.2 * torch.randn(bins, inputs, generator=generator), torch.randn(bins, generator=generator)
    return hidden.to(device), weight.to(device), bias.to(device)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("batch", [1, 7, 63])
@pytest.mark.parametrize(("inputs", "bins", "step"), [(32, 601, 1.0), (20, 41, 0.1)])
def test_agrees_with_float64(monkeypatch, device, backend, batch, inputs, bins, step):
    hidden, weight, bias = a_head(batch, inputs, bins, device)
    seen = watch(monkeypatch, "kernels.decode_head", reference="decode_head", kernel="decode_head_kernel")
    found = decode_head(hidden, weight, bias, step=step, backend=backend)
    assert seen == [backend]
    assert_decodes(found, hidden.double() @ weight.double().T + bias.double(), step)


@pytest.mark.parametrize("backend", BF16_BACKENDS)
def test_bfloat16_weights_lose_nothing_more(device, backend):
    hidden, weight, bias = (tensor.bfloat16() for tensor in a_head(63, 32, 601, device))
    found = decode_head(hidden, weight, bias, step=1.0, backend=backend)
    assert_decodes(found, hidden.double() @ weight.double().T + bias.double(), 1.0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_bin_stands_for_its_scalar(device, backend):
    """Logits fall off with the square of the distance from each row's bin: e^-50 of it in the next one."""
    bins = torch.arange(601.0, device=device) - 300
    hidden = torch.stack([bins, torch.ones_like(bins)], 1)
    weight = torch.stack([100 * bins, -50 * bins**2], 1)
    found = decode_head(hidden, weight, torch.zeros_like(bins), step=1.0, backend=backend)
    torch.testing.assert_close(found.double(), textbook_unsquash(bins.double()), rtol=2e-6, atol=1e-9)


def test_the_default_is_the_device_s_own(monkeypatch, device):
    hidden, weight, bias = a_head(3, 32, 41, device)
    seen = watch(monkeypatch, "kernels.decode_head", reference="decode_head", kernel="decode_head_kernel")
    decode_head(hidden, weight, bias, step=1.0)
    assert seen == ["triton" if device.type == "cuda" else "reference"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_unused_memory_does_not_reach_the_result(device, backend):
    """Bins, units and rows beyond the last lie beside the arrays: poison there."""
    hidden, weight, bias = a_head(7, 20, 41, device)
    poisoned = []
    for tensor in (hidden, weight, bias):
        memory = torch.full((tensor.numel() + 16384,), torch.nan, device=device)
        memory[8192:-8192] = tensor.flatten()
        poisoned.append(memory[8192:-8192].view(tensor.shape))
    found = decode_head(*poisoned, step=1.0, backend=backend)
    torch.testing.assert_close(found, decode_head(hidden, weight, bias, step=1.0, backend="reference"))


@pytest.mark.filterwarnings("ignore:invalid value encountered", "ignore:All-NaN slice")  # numpy's, in the interpreter
@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_not_a_number_stays_so_in_its_row_alone(device, backend):
    hidden, weight, bias = (torch.zeros(size, device=device) for size in ((20, 8), (601, 8), (601,)))
    hidden[3, 5] = torch.nan
    hidden[18, 7] = torch.inf
    found = decode_head(hidden, weight, bias, step=1.0, backend=backend)
    assert found.isnan().nonzero().flatten().tolist() == [3, 18]
    assert found.nan_to_num().abs().max() < 1e-4


def test_an_untrained_head_decodes_to_zero_exactly(device):
    """All logits equal: the bins cancel as whole numbers, in any order."""
    hidden, weight, bias = torch.rand(5, 32, device=device), torch.zeros(601, 32), torch.zeros(601)
    found = decode_head(hidden, weight.to(device), bias.to(device), step=1.0, backend="triton")
    assert found.tolist() == [0.0] * 5


def test_reference_is_the_models_codec():
    for config in (CodecConfig(), CodecConfig(limit=2.0, step=0.1)):
        logits = 3.0 * torch.randn(63, config.bins, generator=torch.Generator().manual_seed(0))
        same = torch.eye(config.bins), torch.zeros(config.bins)
        found = decode_head(logits, *same, step=config.step, backend="reference")
        torch.testing.assert_close(found, ScalarCodec(config).decode(logits), rtol=1e-5, atol=1e-6)


def test_misfits_are_refused(monkeypatch):
    hidden, weight, bias = a_head(3, 32, 41, torch.device("cpu"))
    assert "[41, 31]" in refusal(decode_head, hidden, weight[:, :31], bias, step=1.0)
    assert "backend=cuda" in refusal(decode_head, hidden, weight, bias, step=1.0, backend="cuda")
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    assert "CUDA" in refusal(decode_head, hidden, weight, bias, step=1.0, backend="triton")
