"""EfficientZero's network on a GPU: a channels-last representation, and a simulation's step in fused kernels.

Both in bfloat16, with sums, scalars, the LSTM's c and policy logits in float32. Used by the agent, and by the search
through `step_into` (see docs/design/search.md); in tests on the CPU, in float32.

Axes: B roots, N nodes, R rows of their latents (`kernels/conv3x3_latent/layout.py`), C channels, G grid, F features of
the prefix head, H LSTM units, U hidden units of a head, A actions.
"""

import copy
import logging
from dataclasses import dataclass
from functools import partial

import torch

from kernels.card import Card
from kernels.conv3x3_latent import conv3x3_latent
from kernels.conv3x3_latent.layout import all_image_rows, as_images, num_rows, pack_images, zero_rows
from kernels.conv3x3_latent.tile import tile_for
from kernels.decode_head import decode_head
from kernels.lstm_cell import LSTMStep, lstm_pointwise
from kernels.parent_gather import States, parent_gather
from speedyzero.model.base import Network
from speedyzero.model.blocks import fuse_epilogues
from speedyzero.model.efficientzero import EfficientZeroNetwork, PrefixHead
from speedyzero.model.plain_inference import PlainInference
from speedyzero.model.step_weights import pack
from speedyzero.search import RootOutput, StepBuffers, StepOutput
from speedyzero.search.latents import copy_padded

_log = logging.getLogger("speedyzero.model")


def can_fuse(network: Network, device: torch.device, dtype: torch.dtype) -> bool:
    """Whether the kernels support this network: convolutional, with latent channels that fit the device."""
    if not isinstance(network, EfficientZeroNetwork):
        return False
    try:
        tile_for(network.latent_channels, dtype, Card.of(device))
    except ValueError as error:
        _log.warning("%s: searches use the network's own layers, which is slower", error)
        return False
    return True


@dataclass(frozen=True)
class FusedNodes:
    """The states of every node, and the buffers of one step."""

    states: States  # latent [N, R, C], h [N, B, H], c [N, B, H] float32
    parent: States  # one node's, gathered; h is a view of `joined`
    rows: tuple[torch.Tensor, torch.Tensor]  # [R, C] each
    joined: torch.Tensor  # [B, F + H]: input of the LSTM's matrix product; [B, F] without an LSTM
    batch: int
    grid: int

    def write_root(self, state: dict[str, torch.Tensor]) -> None:
        copy_padded(as_images(self.states.latent[0], batch=self.batch, grid=self.grid), state["latent"])
        if self.states.h is not None and self.states.c is not None:
            copy_padded(self.states.h[0], state["prefix_state_h"])
            copy_padded(self.states.c[0], state["prefix_state_c"])


class FusedInference:
    """Root inference and a `StepModel`. `load` replaces weights in place, so captured graphs stay valid."""

    def __init__(self, plain: PlainInference, *, dtype: torch.dtype, backend: str = "auto", fused_root: bool = False):
        """plain: of a folded float32 network that `can_fuse` accepts. backend: the kernels' (see `kernels.backend`).
        fused_root: see `fuse_epilogues` (GPU)."""
        network = plain.network
        assert isinstance(network, EfficientZeroNetwork)
        self._plain, self._network, self.dtype, self._backend = plain, network, dtype, backend
        self._representation = copy.deepcopy(network.representation).to(dtype)
        self._fused_layers = fuse_epilogues(self._representation) if fused_root else []
        self._weights = pack(network, dtype=dtype)
        self._grid, self._channels = network.latent_grid, network.latent_channels
        self._hidden = network.prefix_head.lstm.hidden if isinstance(network.prefix_head, PrefixHead) else 0
        self._features = self._grid**2 * self._weights.prefix_reduce_bias.shape[0]
        self._convolve = partial(conv3x3_latent, grid=self._grid, backend=backend)

    @torch.no_grad()
    def load(self) -> None:
        """Copy the folded network's current weights."""
        own, theirs = self._representation.parameters(), self._network.representation.parameters()
        for parameter, source in zip(own, theirs, strict=True):
            parameter.copy_(source)
        self._weights.load(pack(self._network, dtype=self.dtype))

    @torch.inference_mode()
    def root_from(self, observation: torch.Tensor) -> RootOutput:
        """Root inference. observation: [B, S*C, H, W], any floating type."""
        latent = self._represent(observation.to(self.dtype, memory_format=torch.channels_last))
        batch, device = len(latent), latent.device
        value = torch.empty(batch, device=device)
        policy_logits = torch.empty(batch, self._network.num_actions, device=device)
        rows = pack_images(latent)
        self._predict(rows, torch.zeros_like(rows), batch=batch, value=value, policy_logits=policy_logits)
        state = {"latent": latent}
        if self._hidden:
            state["prefix_state_h"] = latent.new_zeros(batch, self._hidden)
            state["prefix_state_c"] = value.new_zeros(batch, self._hidden)
        return RootOutput(policy_logits, value, state)

    def _represent(self, observation: torch.Tensor) -> torch.Tensor:
        """By the layers' own operations from the first time on that cuDNN has no fused one."""
        try:
            return self._representation(observation)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            if not self._fused_layers:
                raise
            why = str(error).partition("\n")[0][:200]
            _log.warning("search.fused_root: %s: root inference continues without it, more slowly", why)
        for layer in self._fused_layers:
            del layer.activated
        self._fused_layers = []
        return self._representation(observation)

    def __call__(self, state: dict[str, torch.Tensor], action: torch.Tensor) -> StepOutput:
        """A step without buffers: by the folded network, in float32."""
        step = self._plain.recurrent({key: tensor.float() for key, tensor in state.items()}, action)
        states = {key: tensor.to(state[key].dtype) for key, tensor in step.state.items()}
        return StepOutput(step.reward, step.value, step.policy_logits, states)

    def make_nodes(self, state: dict[str, torch.Tensor], *, batch: int, num_nodes: int) -> FusedNodes:
        device, hidden = state["latent"].device, self._hidden
        rows = [zero_rows(batch, self._channels, self._grid, dtype=self.dtype, device=device) for _ in range(3)]
        latent = rows[0].new_zeros(num_nodes, num_rows(batch, self._grid), self._channels)
        joined = rows[0].new_zeros(batch, self._features + hidden)
        states, parent = States(latent, None, None), States(rows[0], None, None)
        if hidden:
            h = rows[0].new_zeros(num_nodes, batch, hidden)
            c = torch.zeros(num_nodes, batch, hidden, device=device)
            states, parent = States(latent, h, c), States(rows[0], joined[:, self._features :], torch.zeros_like(c[0]))
        nodes = FusedNodes(states, parent, (rows[1], rows[2]), joined, batch, self._grid)
        nodes.write_root(state)
        return nodes

    def step_into(self, buffers: StepBuffers) -> None:
        nodes, weights = buffers.nodes, self._weights
        assert isinstance(nodes, FusedNodes)
        convolve = partial(self._convolve, batch=nodes.batch)
        x, (y, z) = nodes.parent.latent, nodes.rows
        parent_gather(
            nodes.states, buffers.parent_row, nodes.parent, batch=nodes.batch, grid=self._grid, backend=self._backend
        )
        convolve(
            x, weights.action_weight, weights.action_bias,
            action=buffers.action, action_maps=weights.action_maps, residual=x, out=y,
        )  # fmt: skip
        convolve(y, weights.dynamics_weight[0], weights.dynamics_bias[0], out=z)
        convolve(
            z, weights.dynamics_weight[1], weights.dynamics_bias[1],
            residual=y, out=x, nodes=nodes.states.latent, node=buffers.leaf,
        )  # fmt: skip
        self._prefix(x, nodes, buffers)
        self._predict(x, z, batch=nodes.batch, value=buffers.value, policy_logits=buffers.policy_logits)

    def _prefix(self, rows: torch.Tensor, nodes: FusedNodes, buffers: StepBuffers) -> None:
        """The value prefix of the leaf's latents, and the LSTM's state. rows: [R, C]."""
        weights, grid = self._weights, self._grid
        with_border = all_image_rows(rows, batch=nodes.batch, grid=grid)
        reduced = torch.addmm(weights.prefix_reduce_bias, with_border, weights.prefix_reduce_weight)
        pixels = reduced.view(nodes.batch, grid + 1, grid + 1, -1)[:, :grid, :grid]
        inputs = nodes.joined[:, : self._features]
        torch.clamp_min(pixels, 0.0, out=inputs.view(pixels.shape))
        if weights.lstm_weight is not None:
            assert weights.lstm_bias is not None and weights.norm_scale is not None and weights.norm_shift is not None
            assert nodes.states.h is not None and nodes.states.c is not None and nodes.parent.c is not None
            gates = nodes.joined @ weights.lstm_weight
            kept = LSTMStep(torch.empty_like(nodes.parent.c), nodes.states.h, nodes.states.c)
            lstm_pointwise(
                gates, weights.lstm_bias, nodes.parent.c,
                reset=buffers.reset, node=buffers.leaf, out=kept, backend=self._backend,
            )  # fmt: skip
            normed = torch.empty_like(kept.output, dtype=self.dtype)
            inputs = torch.addcmul(weights.norm_shift, kept.output, weights.norm_scale, out=normed).relu_()
        hidden = torch.addmm(weights.prefix_hidden_bias, inputs, weights.prefix_hidden_weight).relu_()
        decode_head(
            hidden, weights.prefix_output_weight, weights.prefix_output_bias,
            step=self._plain.prefix_codec.step, out=buffers.reward, backend=self._backend,
        )  # fmt: skip

    def _predict(
        self, rows: torch.Tensor, scratch: torch.Tensor, *, batch: int, value: torch.Tensor, policy_logits: torch.Tensor
    ) -> None:
        """Value and policy of latents. rows, scratch: [R, C]; written: value [B], policy_logits [B, A]."""
        weights = self._weights
        convolve = partial(self._convolve, batch=batch)
        convolve(rows, weights.prediction_weight[0], weights.prediction_bias[0], out=scratch)
        pixels = convolve(
            scratch, weights.prediction_weight[1], weights.prediction_bias[1], residual=rows, compact=True
        )  # [B, G, G, C]
        of_pixels = torch.addmm(weights.heads_reduce_bias, pixels.view(-1, self._channels), weights.heads_reduce_weight)
        features = of_pixels.relu_().view(batch, -1)  # [B, 2 F]
        both = torch.addmm(weights.heads_hidden_bias, features, weights.heads_hidden_weight).relu_()
        of_value, of_policy = both.chunk(2, dim=1)  # [B, U] each
        decode_head(
            of_value, weights.value_output_weight, weights.value_output_bias,
            step=self._plain.value_codec.step, out=value, backend=self._backend,
        )  # fmt: skip
        torch.addmm(weights.policy_output_bias, of_policy.float(), weights.policy_output_weight, out=policy_logits)
