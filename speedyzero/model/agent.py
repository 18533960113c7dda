"""A network ready to act: root inference, recurrent inference and search with one set of weights.

Used by the actor (newest weights), the reanalyzer (target weights) and the evaluator. On the CPU the network's own
layers compute in float32. On a GPU a `Searcher` launches whole searches, and a convolutional network runs in bfloat16
through the fused kernels.

Axes: B batch, S stacked frames, A actions, P flat weights, ... an observation's own axes.
"""

import dataclasses

import numpy as np
import torch

from speedyzero.config import Config
from speedyzero.env.base import ObservationSpec
from speedyzero.model.blocks import fold_into
from speedyzero.model.build import build_network
from speedyzero.model.codec import ScalarCodec
from speedyzero.model.flat import flatten, unflatten_into
from speedyzero.model.fused_inference import FusedInference, can_fuse
from speedyzero.model.observation import to_network_input
from speedyzero.model.plain_inference import PlainInference
from speedyzero.search import RootOutput, Searcher, SearchResult, StateStep, StepModel, StepOutput, search
from speedyzero.search.checks import backend_for
from speedyzero.search.searcher import DEFAULT_LAUNCH
from speedyzero.system.current_device import require_current


class Agent:
    """Inference and search. Weights are replaced in place; `version` is that of the current ones."""

    def __init__(
        self,
        config: Config,
        spec: ObservationSpec,
        num_actions: int,
        *,
        device: str = "cpu",
        launch: str = DEFAULT_LAUNCH,
    ):
        """launch: how Triton's searches are launched, one of `speedyzero.search.LAUNCHES`."""
        self.num_actions = num_actions
        self.device = torch.device(device)
        require_current(self.device)
        self.version = -1
        self.search_config = config.search
        self._source = build_network(config, spec, num_actions).to(self.device).eval()
        self._network = build_network(config, spec, num_actions, folded=True).to(self.device).eval()
        self._plain = PlainInference(
            self._network,
            value_codec=ScalarCodec(config.model.value_codec).to(self.device),
            prefix_codec=ScalarCodec(config.model.prefix_codec).to(self.device),
        )
        self._fused: FusedInference | None = None
        self._searcher: Searcher | None = None
        if backend_for(config.search.backend, self.device) == "triton":
            dtype = torch.bfloat16 if self.device.type == "cuda" else torch.float32
            if can_fuse(self._network, self.device, dtype):
                fused_root = config.search.fused_root and self.device.type == "cuda"
                self._fused = FusedInference(self._plain, dtype=dtype, backend="triton", fused_root=fused_root)
            self._searcher = Searcher(self.step_model, launch=launch)

    def load(self, flat: torch.Tensor, *, version: int) -> None:
        """Load flat weights, [P] float32, of a training network."""
        unflatten_into(self._source, flat)
        fold_into(self._network, self._source)
        if self._fused is not None:
            self._fused.load()
        self.version = version

    @property
    def step_model(self) -> StepModel:
        """The step of each simulation in Triton's searches."""
        return StateStep(self.recurrent) if self._fused is None else self._fused

    @property
    def flat(self) -> torch.Tensor:
        """A copy of the current weights, [P] float32 on the CPU."""
        return flatten(self._source)

    @property
    def input_dtype(self) -> torch.dtype:
        return torch.float32 if self._fused is None else self._fused.dtype

    @property
    def pad_channels_to(self) -> int:
        """On a GPU, observations zero-padded to a multiple of this many channels save a copy."""
        return self._network.pad_channels_to

    def root(self, stacked: np.ndarray) -> RootOutput:
        """Root inference. stacked: [B, S, ...] -> policy_logits [B, A], value [B], state."""
        return self.root_from(to_network_input(torch.from_numpy(stacked).to(self.device)))

    def root_from(self, observation: torch.Tensor) -> RootOutput:
        """Root inference from a network input on this agent's device, [B, S*C, H, W] or [B, S*D]."""
        return self._plain.root_from(observation) if self._fused is None else self._fused.root_from(observation)

    def recurrent(self, state: dict[str, torch.Tensor], action: torch.Tensor) -> StepOutput:
        """Recurrent inference, the search's model. action: [B] int64."""
        return self._plain.recurrent(state, action) if self._fused is None else self._fused(state, action)

    def search_from(
        self, root: RootOutput, *, noise: np.ndarray | None = None, simulations: int = 0, tie_seed: int = 0
    ) -> SearchResult:
        """Search from root outputs.

        noise: [B, A] float32, Dirichlet (puct) or Gumbel (gumbel); None searches without any. simulations: 0 as
        configured. tie_seed: seeds the random ties of first_pick="uniform".
        """
        config = self.search_config
        if simulations:
            config = dataclasses.replace(config, num_simulations=simulations)
        if noise is None:
            config = dataclasses.replace(config, root_noise_fraction=0.0, gumbel_scale=0.0)
        generator = None
        if config.algorithm == "puct" and config.first_pick == "uniform":
            generator = torch.Generator(device=self.device).manual_seed(tie_seed)
        tensor = None if noise is None else torch.from_numpy(noise).to(self.device)
        if self._searcher is not None:
            return self._searcher.search(root, config, noise=tensor, generator=generator)
        return search(root, self.recurrent, config, noise=tensor, generator=generator)

    def search(
        self, stacked: np.ndarray, *, noise: np.ndarray | None = None, simulations: int = 0, tie_seed: int = 0
    ) -> SearchResult:
        """Root inference and search. stacked: [B, S, ...]; the rest as in `search_from`."""
        return self.search_from(self.root(stacked), noise=noise, simulations=simulations, tie_seed=tie_seed)
