"""A network ready to act: root inference, recurrent inference and search with one set of weights.

Used by the actor (newest weights), the reanalyzer (target weights) and the evaluator.

Axes: B batch, S stacked frames, A actions, P flat weights, ... an observation's own axes.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from speedyzero.config import Config
from speedyzero.env.base import ObservationSpec
from speedyzero.model.blocks import fold_into
from speedyzero.model.build import build_network
from speedyzero.model.codec import ScalarCodec
from speedyzero.model.observation import to_network_input
from speedyzero.search import RootOutput, SearchResult, StepOutput, search
from speedyzero.weights.flat import unflatten_into


class Agent:
    """Inference and search. Weights are replaced in place; `version` names the ones that it holds."""

    def __init__(self, config: Config, spec: ObservationSpec, num_actions: int, *, device: str = "cpu"):
        self.num_actions = num_actions
        self.device = torch.device(device)
        self.version = -1
        self.search_config = config.search
        self._source = build_network(config, spec, num_actions).to(self.device).eval()
        self._network = build_network(config, spec, num_actions, folded=True).to(self.device).eval()
        self._value_codec = ScalarCodec(config.model.value_codec).to(self.device)
        self._prefix_codec = ScalarCodec(config.model.prefix_codec).to(self.device)

    def load(self, flat: torch.Tensor, *, version: int) -> None:
        """Take over flat weights, [P] float32, of a training network."""
        unflatten_into(self._source, flat)
        fold_into(self._network, self._source)
        self.version = version

    @property
    def input_dtype(self) -> torch.dtype:
        """What the network computes in."""
        return next(self._network.parameters()).dtype

    def root(self, stacked: np.ndarray) -> RootOutput:
        """Root inference. stacked: [B, S, ...] -> policy_logits [B, A], value [B], state."""
        return self.root_from(to_network_input(torch.from_numpy(stacked).to(self.device)))

    @torch.inference_mode()
    def root_from(self, observation: torch.Tensor) -> RootOutput:
        """Root inference from a network input on this agent's device, [B, S*C, H, W] or [B, S*D]."""
        latent = self._network.represent(observation)
        prediction = self._network.predict(latent)
        state = {"latent": latent, **self._network.initial_prefix_state(latent.shape[0])}
        return RootOutput(prediction.policy_logits, self._value_codec.decode(prediction.value_logits), state)

    @torch.inference_mode()
    def recurrent(self, state: dict[str, torch.Tensor], action: torch.Tensor) -> StepOutput:
        """Recurrent inference, the search's model. action: [B] int64."""
        prefix_state = {key: value for key, value in state.items() if key != "latent"}
        transition = self._network.dynamics(state["latent"], action, prefix_state)
        prediction = self._network.predict(transition.latent)
        return StepOutput(
            self._prefix_codec.decode(transition.prefix_logits),
            self._value_codec.decode(prediction.value_logits),
            prediction.policy_logits,
            {"latent": transition.latent, **transition.prefix_state},
        )

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
        return search(root, self.recurrent, config, noise=tensor, generator=generator)

    def search(
        self, stacked: np.ndarray, *, noise: np.ndarray | None = None, simulations: int = 0, tie_seed: int = 0
    ) -> SearchResult:
        """Root inference and search. stacked: [B, S, ...]; the rest as in `search_from`."""
        return self.search_from(self.root(stacked), noise=noise, simulations=simulations, tie_seed=tie_seed)
