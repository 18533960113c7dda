"""Root and recurrent inference by a network's own layers, in its own dtype: on the CPU, and on a GPU for networks
without fused kernels.

Axes: B batch, S stacked frames, A actions.
"""

from dataclasses import dataclass

import torch

from speedyzero.model.base import Network
from speedyzero.model.codec import ScalarCodec
from speedyzero.search import RootOutput, StepOutput


@dataclass(frozen=True)
class PlainInference:
    """The network with the codecs that decode its scalars."""

    network: Network
    value_codec: ScalarCodec
    prefix_codec: ScalarCodec

    @torch.inference_mode()
    def root_from(self, observation: torch.Tensor) -> RootOutput:
        """Root inference from a network input, [B, S*C, H, W] or [B, S*D]."""
        latent = self.network.represent(observation)
        prediction = self.network.predict(latent)
        state = {"latent": latent, **self.network.initial_prefix_state(latent.shape[0])}
        return RootOutput(prediction.policy_logits, self.value_codec.decode(prediction.value_logits), state)

    @torch.inference_mode()
    def recurrent(self, state: dict[str, torch.Tensor], action: torch.Tensor) -> StepOutput:
        """Recurrent inference, the search's model. action: [B] int64."""
        prefix_state = {key: value for key, value in state.items() if key != "latent"}
        transition = self.network.dynamics(state["latent"], action, prefix_state)
        prediction = self.network.predict(transition.latent)
        return StepOutput(
            self.prefix_codec.decode(transition.prefix_logits),
            self.value_codec.decode(prediction.value_logits),
            prediction.policy_logits,
            {"latent": transition.latent, **transition.prefix_state},
        )
