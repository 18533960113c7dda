"""The convolutional network's fused step, alone and in the agent's whole searches, against its own layers and numba."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from kernels.capture import Graphed
from kernels.card import Card
from kernels.conv3x3_latent.layout import all_image_rows, as_images
from speedyzero.config import Config, SearchConfig
from speedyzero.env.base import ObservationSpec
from speedyzero.model.agent import Agent
from speedyzero.model.base import Network
from speedyzero.model.blocks import fold_into
from speedyzero.model.build import build_network
from speedyzero.model.codec import ScalarCodec
from speedyzero.model.flat import flatten
from speedyzero.model.fused_inference import FusedInference, can_fuse
from speedyzero.model.observation import to_network_input
from speedyzero.model.plain_inference import PlainInference
from speedyzero.search import Searcher, StepBuffers
from tests.kernels.backends import BACKENDS, watch
from tests.kernels.conftest import HAS_GPU
from tests.kernels.fake_capture import FakeGraphed, fake_captures
from tests.kernels.noted_launches import note_launches
from tests.model.networks import TINY_MODEL, VECTOR_SPEC, randomise, tiny_config
from tests.search.models import assert_same_search, dirichlet, gumbel

IMAGE_SPEC = ObservationSpec(shape=(32, 32, 3), dtype=np.dtype(np.uint8))
GRID = 4  # of its latents
ACTIONS = 2  # so that a few simulations reach some depth
NETWORK_KERNELS = {
    "conv3x3_latent_kernel": ("kernels.conv3x3_latent", "conv3x3_latent"),
    "decode_head_kernel": ("kernels.decode_head", "decode_head"),
    "lstm_pointwise_kernel": ("kernels.lstm_cell", "lstm_pointwise"),
    "parent_gather_kernel": ("kernels.parent_gather", "parent_gather"),
}


def fusable_config(*, action_encoding: str = "scale", **search) -> Config:
    model = replace(TINY_MODEL, latent_channels=16, reduced_channels=3, action_encoding=action_encoding)
    return tiny_config(model=model, search=SearchConfig(**search))


def trained(config: Config, spec, *, seed: int) -> Network:
    """A network in training form with nothing left at its initial value, and latents that do not grow step by step."""
    torch.manual_seed(seed)
    network = build_network(config, spec, ACTIONS)
    randomise(network, seed=seed)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.weight.data.mul_(0.3)
    return network


def inference(config: Config, device: torch.device, *, seed: int) -> PlainInference:
    """A folded network in float32."""
    network = build_network(config, IMAGE_SPEC, ACTIONS, folded=True).eval()
    fold_into(network, trained(config, IMAGE_SPEC, seed=seed).eval())
    codecs = ScalarCodec(TINY_MODEL.value_codec), ScalarCodec(TINY_MODEL.prefix_codec)
    return PlainInference(network.to(device), *(codec.to(device) for codec in codecs))


def frames(batch: int, *, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(256, size=(batch, 2, *IMAGE_SPEC.shape), dtype=np.uint8)


def close(found: torch.Tensor, expected: torch.Tensor, *, tolerance: float) -> None:
    """tolerance: of the largest number, or of 1."""
    largest = expected.abs().max().item()
    assert largest > 1e-3  # a dead network would agree with anything
    torch.testing.assert_close(found.float(), expected, rtol=tolerance, atol=tolerance * max(1.0, largest))


@pytest.fixture(autouse=True)
def exact_products(monkeypatch) -> None:
    """Convolutions of float32 on a GPU are not rounded to TF32."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


FLOAT32 = [(backend, torch.float32, 1e-5) for backend in BACKENDS]
# Each of some twenty layers rounds to 2^-9. What must hold is that no operation minds its operands' types.
BFLOAT16 = [(backend, torch.bfloat16, 0.05) for backend in (BACKENDS if HAS_GPU else ["reference"])]


@pytest.mark.parametrize(("backend", "dtype", "tolerance"), [*FLOAT32, *BFLOAT16])
@pytest.mark.parametrize(("prefix_horizon", "encoding"), [(0, "scale"), (2, "one_hot")])
def test_steps_from_any_node_are_the_networks(monkeypatch, device, backend, dtype, tolerance, prefix_horizon, encoding):
    """A chain of captured steps: other parents, actions and resets each time, by numbers in device memory."""
    config = fusable_config(prefix_horizon=prefix_horizon, action_encoding=encoding)
    batch, padded, steps = 3, 5, 4
    plain = inference(config, device, seed=0)
    fused = FusedInference(plain, dtype=dtype, backend=backend)
    close_to = partial(close, tolerance=tolerance)
    observation = to_network_input(torch.from_numpy(frames(batch, seed=1)).to(device))
    root, expected_root = fused.root_from(observation), plain.root_from(observation)
    close_to(root.value, expected_root.value)
    close_to(root.policy_logits, expected_root.policy_logits)
    seen = {kernel: watch(monkeypatch, package, reference=reference, kernel=kernel)
            for kernel, (package, reference) in NETWORK_KERNELS.items()}  # fmt: skip
    if not HAS_GPU:
        note_launches(monkeypatch)

    with torch.inference_mode():
        buffers = poisoned_buffers(fused, root, padded, num_nodes=steps + 1)
        graphed = Graphed if HAS_GPU else FakeGraphed
        step = graphed(lambda: fused.step_into(buffers), device=device, warmups=1)
        states = [expected_root.state]  # of every node
        generator = torch.Generator().manual_seed(2)
        for leaf in range(1, steps + 1):
            parent = torch.randint(leaf, (padded,), generator=generator)
            action = torch.randint(ACTIONS, (padded,), generator=generator)
            reset = torch.randint(2, (padded,), generator=generator) > 0
            buffers.parent_row.copy_(parent * padded + torch.arange(padded))
            buffers.action.copy_(action)
            buffers.reset.copy_(reset)
            buffers.leaf.fill_(leaf)
            step()
            state = {key: torch.stack([states[n][key][b] for b, n in enumerate(parent[:batch])]) for key in states[0]}
            expected = plain.recurrent(state, action[:batch].to(device))
            close_to(buffers.reward[:batch], expected.reward)
            close_to(buffers.value[:batch], expected.value)
            close_to(buffers.policy_logits[:batch], expected.policy_logits)
            kept = (~reset[:batch, None]).to(device)
            states.append({key: x * kept if key != "latent" else x for key, x in expected.state.items()})
            images = as_images(buffers.nodes.states.latent[leaf], batch=padded, grid=GRID)
            close_to(images[:batch], expected.state["latent"])
    used = [kernel for kernel in NETWORK_KERNELS if prefix_horizon or kernel != "lstm_pointwise_kernel"]
    assert {kernel for kernel, runs in seen.items() if runs} == set(used)
    assert all(set(seen[kernel]) == {backend} for kernel in used)


class SeparateOperations:
    """cuDNN's fused convolutions by torch's own operations, for the CPU; counts the calls."""

    def __init__(self, monkeypatch, *, error: Exception | None = None):
        self.calls, self._error = {"relu": 0, "add relu": 0}, error
        monkeypatch.setattr(torch, "cudnn_convolution_relu", self._relu)
        monkeypatch.setattr(torch, "cudnn_convolution_add_relu", self._add_relu)

    def _relu(self, x, weight, bias, stride, padding, dilation, groups):
        self.calls["relu"] += 1
        if self._error is not None:
            raise self._error
        return F.relu(F.conv2d(x, weight, bias, stride, padding, dilation, groups))

    def _add_relu(self, x, weight, z, alpha, bias, stride, padding, dilation, groups):
        self.calls["add relu"] += 1
        return F.relu(F.conv2d(x, weight, bias, stride, padding, dilation, groups) + alpha * z)


def roots(device: torch.device) -> tuple[FusedInference, PlainInference, torch.Tensor]:
    """Root inference with fused epilogues, the network's own, and a network input."""
    plain = inference(fusable_config(), device, seed=0)
    fused = FusedInference(plain, dtype=torch.float32, backend="reference", fused_root=True)
    return fused, plain, to_network_input(torch.from_numpy(frames(3, seed=1)).to(device))


def assert_same_root(fused: FusedInference, plain: PlainInference, observation: torch.Tensor) -> None:
    found, expected = fused.root_from(observation), plain.root_from(observation)
    close(found.state["latent"], expected.state["latent"], tolerance=1e-5)
    close(found.value, expected.value, tolerance=1e-5)


def test_root_inference_with_fused_epilogues_is_the_network_s(monkeypatch, device, caplog):
    """Every layer of the representation, also with weights that are loaded later."""
    cudnn = None if HAS_GPU else SeparateOperations(monkeypatch)
    fused, plain, observation = roots(device)
    assert_same_root(fused, plain, observation)
    fold_into(plain.network, trained(fusable_config(), IMAGE_SPEC, seed=1).to(device).eval())
    fused.load()
    assert_same_root(fused, plain, observation)
    assert not caplog.records
    if cudnn is not None:  # stem, its block, the block that halves, two blocks
        assert cudnn.calls == {"relu": 2 * 5, "add relu": 2 * 4}


@pytest.mark.skipif(HAS_GPU, reason="cuDNN has these operations")
def test_where_cudnn_lacks_them_it_is_said_once(caplog):
    fused, plain, observation = roots(torch.device("cpu"))
    for _ in range(2):
        assert_same_root(fused, plain, observation)
    (record,) = caplog.records
    assert "search.fused_root: Could not run 'aten::cudnn_convolution_relu'" in record.message
    assert "\n" not in record.message


def test_a_root_inference_that_runs_out_of_memory_is_not_tried_again(monkeypatch, device, caplog):
    SeparateOperations(monkeypatch, error=torch.OutOfMemoryError("too much"))
    fused, _, observation = roots(device)
    with pytest.raises(torch.OutOfMemoryError):
        fused.root_from(observation)
    assert not caplog.records


def poisoned_buffers(fused: FusedInference, root, batch: int, *, num_nodes: int) -> StepBuffers:
    """What a search would give the step, with everything that it is to write not a number."""
    device = root.value.device
    nodes = fused.make_nodes(root.state, batch=batch, num_nodes=num_nodes)
    for latent in nodes.states.latent[1:]:
        all_image_rows(latent, batch=batch, grid=GRID).fill_(torch.nan)
    for state in (nodes.states.h, nodes.states.c):
        if state is not None:
            state[1:].fill_(torch.nan)
    return StepBuffers(
        nodes=nodes,
        parent_row=torch.zeros(batch, dtype=torch.int64, device=device),
        action=torch.zeros(batch, dtype=torch.int64, device=device),
        reset=torch.zeros(batch, dtype=torch.bool, device=device),
        leaf=torch.zeros(1, dtype=torch.int64, device=device),
        reward=torch.full((batch,), torch.nan, device=device),
        value=torch.full((batch,), torch.nan, device=device),
        policy_logits=torch.full((batch, ACTIONS), torch.nan, device=device),
    )


def agents(monkeypatch, config: Config, spec, *, launch: str) -> tuple[Agent, Agent]:
    """One by numba and the network's own layers, one by the interpreter; its searches are captured for show."""
    fake_captures(monkeypatch)
    plain = Agent(config, spec, ACTIONS)
    search_config = replace(config.search, backend="triton")
    fused = Agent(replace(config, search=search_config), spec, ACTIONS, launch=launch)
    fused._searcher = Searcher(fused.step_model, launch=launch, pad=lambda batch: 3)
    return plain, fused


def noise_for(config: Config, batch: int, *, seed: int) -> np.ndarray:
    return (dirichlet if config.search.algorithm == "puct" else gumbel)(seed, batch, ACTIONS)


@pytest.mark.skipif(HAS_GPU, reason="on a GPU an agent computes in bfloat16: benchmarks/gpu/search_check.py")
@pytest.mark.parametrize(("launch", "settings", "batches"), [
    ("whole", dict(prefix_horizon=2), (3, 2, 3)),
    ("simulation", dict(prefix_horizon=0, algorithm="gumbel"), (3, 2)),
])  # fmt: skip
def test_an_agent_searches_as_its_plain_form_does(monkeypatch, launch, settings, batches):
    """Padded batches, and new weights in place: what was captured continues with them."""
    simulations = 5
    config = fusable_config(num_simulations=simulations, **settings)
    plain, fused = agents(monkeypatch, config, IMAGE_SPEC, launch=launch)
    kernels = note_launches(monkeypatch)
    for version, batch in enumerate(batches):
        for agent in (plain, fused):
            agent.load(flatten(trained(config, IMAGE_SPEC, seed=version)), version=version)
        stacked, noise = frames(batch, seed=version), noise_for(config, batch, seed=version)
        expected = plain.search(stacked, noise=noise)
        assert not kernels
        assert_same_search(fused.search(stacked, noise=noise), expected)
        rule = config.search.algorithm
        assert kernels.count(f"_expand_then_{rule}_select") == simulations - 1
        assert kernels.count("parent_gather_kernel") == simulations
        assert kernels.count("conv3x3_latent_kernel") == simulations * 5 + 2  # the root's prediction
        assert kernels.count("lstm_pointwise_kernel") == (simulations if config.search.prefix_horizon else 0)
        kernels.clear()
        assert expected.visits.max() >= 3  # deep enough for another parent than the root
    assert len(fused._searcher.kept) == 1


@pytest.mark.skipif(HAS_GPU, reason="a fake capture notes the interpreter's launches")
def test_other_networks_are_captured_as_they_are(monkeypatch):
    config = tiny_config(search=SearchConfig(num_simulations=4, prefix_horizon=2))
    plain, generic = agents(monkeypatch, config, VECTOR_SPEC, launch="whole")
    kernels = note_launches(monkeypatch)
    for version in range(3):
        for agent in (plain, generic):
            agent.load(flatten(trained(config, VECTOR_SPEC, seed=version)), version=version)
        stacked = np.random.default_rng(version).normal(size=(3, 2, *VECTOR_SPEC.shape)).astype(np.float32)
        noise = noise_for(config, 3, seed=version)
        assert_same_search(generic.search(stacked, noise=noise), plain.search(stacked, noise=noise))
    assert set(kernels) == {"_puct_select", "_expand_then_puct_select", "_expand_backup"}


def test_which_networks_can_be_fused():
    def network(spec, channels):
        config = tiny_config(model=replace(TINY_MODEL, latent_channels=channels))
        return build_network(config, spec, ACTIONS, folded=True)

    here = torch.device("cpu"), torch.float32
    assert [can_fuse(network(IMAGE_SPEC, size), *here) for size in (8, 16, 24, 64)] == [False, True, False, True]
    assert not can_fuse(network(VECTOR_SPEC, 16), *here)


def test_a_network_that_does_not_fit_the_card_is_not_fused_and_it_is_said(monkeypatch, caplog):
    with torch.device("meta"):
        config = tiny_config(model=replace(TINY_MODEL, latent_channels=256))
        network = build_network(config, IMAGE_SPEC, ACTIONS, folded=True)
    monkeypatch.setattr(Card, "of", lambda device: Card.of_capability(8, 9))
    assert not can_fuse(network, torch.device("cuda"), torch.bfloat16)
    (record,) = caplog.records
    assert all(number in record.message for number in ("256", "327,744", "8.9", "101,376"))
