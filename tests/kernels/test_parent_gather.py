"""parent_gather: both backends against indexing by hand, and what they must leave alone."""

from __future__ import annotations

import pytest
import torch

from kernels.conv3x3_latent.layout import all_image_rows, as_images, num_rows, zero_rows
from kernels.parent_gather import States, parent_gather
from tests.kernels.backends import BACKENDS, BF16_BACKENDS, watch
from tests.kernels.test_triton_tree import lazily_mapped
from tests.refusal import refusal


def random_nodes(nodes: int, batch: int, channels: int, grid: int, hidden: int, device, dtype=torch.float32) -> States:
    """States of all nodes, the rows of latents that no image lies in poisoned."""
    generator = torch.Generator().manual_seed(batch)
    latent = torch.full((nodes, num_rows(batch, grid), channels), torch.nan, dtype=dtype)
    for rows in latent:
        all_image_rows(rows, batch=batch, grid=grid).zero_()
        as_images(rows, batch=batch, grid=grid).copy_(torch.randn(batch, channels, grid, grid, generator=generator))
    if not hidden:
        return States(latent.to(device), None, None)
    h, c = (torch.randn(nodes, batch, hidden, generator=generator) for _ in range(2))
    return States(latent.to(device), h.to(dtype).to(device), c.to(device))


def poisoned_out(nodes: States, batch: int, grid: int, gap: int = 0) -> States:
    """One node's; gap: numbers between h's rows."""
    rows = zero_rows(batch, nodes.latent.shape[2], grid, dtype=nodes.latent.dtype, device=nodes.latent.device)
    all_image_rows(rows, batch=batch, grid=grid).fill_(torch.nan)
    if nodes.h is None:
        return States(rows, None, None)
    hidden = nodes.h.shape[2]
    wide = torch.full((batch, gap + hidden), torch.nan, dtype=nodes.h.dtype, device=rows.device)
    return States(rows, wide[:, gap:], torch.full((batch, hidden), torch.nan, device=rows.device))


def gather_and_check(nodes: States, out: States, *, batch: int, grid: int, backend: str) -> None:
    count, device = nodes.latent.shape[0], nodes.latent.device
    node = torch.randint(count, (batch,), generator=torch.Generator().manual_seed(1)).to(device)
    parent_gather(
        nodes, node * batch + torch.arange(batch, device=device), out, batch=batch, grid=grid, backend=backend
    )
    for root in range(batch):
        want = as_images(nodes.latent[node[root]], batch=batch, grid=grid)[root]
        assert torch.equal(as_images(out.latent, batch=batch, grid=grid)[root], want)
        if nodes.h is not None:
            assert torch.equal(out.h[root], nodes.h[node[root], root])
            assert torch.equal(out.c[root], nodes.c[node[root], root])
    rest = out.latent.clone()
    as_images(rest, batch=batch, grid=grid).zero_()
    assert not rest.any()  # a convolution reads zeros between the images, and before and after them


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("nodes", "batch", "channels", "grid", "hidden"), [(1, 1, 16, 6, 0), (5, 7, 64, 6, 512), (3, 63, 16, 2, 6)]
)
def test_copies_each_roots_row(monkeypatch, device, backend, nodes, batch, channels, grid, hidden):
    states = random_nodes(nodes, batch, channels, grid, hidden, device)
    seen = watch(monkeypatch, "kernels.parent_gather", reference="parent_gather", kernel="parent_gather_kernel")
    out = poisoned_out(states, batch, grid, gap=3)
    gather_and_check(states, out, batch=batch, grid=grid, backend=backend)
    assert seen == [backend]
    if hidden:
        assert out.h._base[:, :3].isnan().all()


@pytest.mark.parametrize("backend", BF16_BACKENDS)
def test_bfloat16_latents_and_h_beside_a_float32_c(device, backend):
    states = random_nodes(3, 5, 32, 6, 16, device, torch.bfloat16)
    gather_and_check(states, poisoned_out(states, 5, 6), batch=5, grid=6, backend=backend)


def test_latents_of_more_than_2_to_the_31_numbers(device):
    """The last node's offset does not fit into 32 bits."""
    batch, channels, grid = 2, 64, 6
    nodes = 2**31 // (num_rows(batch, grid) * channels) + 2
    latent = lazily_mapped(nodes, num_rows(batch, grid), channels, device=device)
    assert latent[-1].storage_offset() > 2**31
    image = torch.randn(batch, channels, grid, grid, generator=torch.Generator().manual_seed(0)).to(device)
    as_images(latent[-1], batch=batch, grid=grid).copy_(image)
    states = States(latent, None, None)
    out = poisoned_out(states, batch, grid)
    row = (nodes - 1) * batch + torch.tensor([1, 0], device=device)
    parent_gather(states, row, out, batch=batch, grid=grid, backend="triton")
    assert torch.equal(as_images(out.latent, batch=batch, grid=grid), image.flip(0))


def test_refuses_what_does_not_fit(device):
    states = random_nodes(2, 3, 16, 2, 4, device)
    out = poisoned_out(states, 3, 2)
    row = torch.zeros(3, dtype=torch.int64, device=device)
    for named, nodes, parent_row, into, batch in (
        ("nodes.latent", states, row, out, 30),
        ("out.latent", states, row, States(out.latent[1:], out.h, out.c), 3),
        ("parent_row", states, row.int(), out, 3),
        ("all or none", states, row, States(out.latent, None, None), 3),
        ("all or none", States(states.latent, states.h, None), row, out, 3),
        ("nodes.h is [2, 2, 4]", States(states.latent, states.h[:, :2], states.c), row, out, 3),
        ("out.c", states, row, States(out.latent, out.h, out.c.double()), 3),
        ("out.h", states, row, States(out.latent, out.h.t().contiguous().t(), out.c), 3),
    ):
        assert named in refusal(parent_gather, nodes, parent_row, into, batch=batch, grid=2)
