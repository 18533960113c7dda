"""Unroll the model along the actions that were taken.

Networks with batch norm run every step as a batch of its own, as the reference does: merged, the steps would share
statistics. Other networks merge all steps into one batch wherever nothing is recurrent: fewer, larger calls.

The prediction's running statistics, which every search and bootstrap uses, come from unrolled states and from the
target views' states, in the reference's order: root, s_1, view 1, s_2, view 2, ... With a momentum of 0.1 and five
steps, 55% of their weight is on states of the representation, as roots are; without the views it would be 13%.

Axes: B batch, K unroll steps (the consistency loss covers J of them, for every n-th sample), A actions, N bins, P
projection, ... an observation's own axes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from speedyzero.config import Config
from speedyzero.model.base import Network


def consistency_steps(config: Config) -> int:
    """Unrolled steps that the consistency loss covers; 0: it is off."""
    steps = config.target.unroll_steps
    if config.learner.consistency_coefficient == 0:
        return 0
    return min(config.learner.consistency_steps, steps) or steps


@dataclass(frozen=True)
class Unrolled:
    policy_logits: torch.Tensor  # [K+1, B, A]
    value_logits: torch.Tensor  # [K+1, B, N]
    prefix_logits: torch.Tensor  # [K, B, N]
    projection: torch.Tensor | None  # [J, B / n, P]: predictor(projector(s_1 .. s_J)); None without consistency loss


def unroll(
    network: Network,
    observation: torch.Tensor,
    action: torch.Tensor,
    *,
    prefix_horizon: int,
    gradient_scale: float,
    projected_steps: int,
    projected_every: int = 1,
    views: Sequence[torch.Tensor] = (),
) -> Unrolled:
    """Root stack [B, ...] and actions [B, K] int64 -> predictions of all K+1 states.

    projected_steps: J <= K. projected_every: n. views: J latents of the target views, [B / n, ...], which update the
    prediction's running statistics.

    Each unrolled state's total gradient is scaled, including that of its own heads, as in the reference's code (B.7).
    """
    latent = network.represent(observation)
    prefix_state = network.initial_prefix_state(latent.shape[0])
    latents, prefix_logits = [latent], []
    for j in range(action.shape[1]):
        if prefix_horizon and j % prefix_horizon == 0:
            prefix_state = network.initial_prefix_state(latent.shape[0])
        transition = network.dynamics(latent, action[:, j], prefix_state)
        latent, prefix_state = transition.latent, transition.prefix_state
        if latent.requires_grad:
            latent.register_hook(lambda gradient: gradient * gradient_scale)
        latents.append(latent)
        prefix_logits.append(transition.prefix_logits)
    policy_logits, value_logits = _predict(network, latents, views)
    projection = None
    if projected_steps:
        projection = _project(network, [latent[::projected_every] for latent in latents[1 : 1 + projected_steps]])
    # With 0 unroll steps (an ablation): an empty stack, one bin wide, which suits any codec.
    prefixes = torch.stack(prefix_logits) if prefix_logits else value_logits[:0, :, :1]
    return Unrolled(policy_logits, value_logits, prefixes, projection)


@dataclass(frozen=True)
class TargetViews:
    """The stacks observed after each action, encoded for the consistency loss. Detached."""

    latents: list[torch.Tensor]  # J of [B / n, ...]
    projection: torch.Tensor  # [J, B / n, P]


@torch.no_grad()
def target_views(network: Network, observations: list[torch.Tensor]) -> TargetViews:
    """representation(o) and projector(representation(o)) of J stacks of [B / n, ...]."""
    if network.norm_mixes_batch:
        latents = [network.represent(observation) for observation in observations]
        return TargetViews(latents, torch.stack([network.project(latent) for latent in latents]))
    merged = network.represent(torch.cat(observations))
    projection = network.project(merged)
    views = len(observations)
    return TargetViews(list(merged.chunk(views)), projection.view(views, -1, projection.shape[-1]))


def _predict(
    network: Network, latents: list[torch.Tensor], views: Sequence[torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    if network.norm_mixes_batch:
        predictions = []
        for j, latent in enumerate(latents):
            predictions.append(network.predict(latent))
            if 1 <= j <= len(views):
                with torch.no_grad():
                    network.predict(views[j - 1])
        return torch.stack([p.policy_logits for p in predictions]), torch.stack([p.value_logits for p in predictions])
    merged = network.predict(torch.cat(latents))
    states = len(latents)
    return (
        merged.policy_logits.view(states, -1, merged.policy_logits.shape[-1]),
        merged.value_logits.view(states, -1, merged.value_logits.shape[-1]),
    )


def _project(network: Network, latents: list[torch.Tensor]) -> torch.Tensor:
    if network.norm_mixes_batch:
        return torch.stack([network.predict_projection(network.project(latent)) for latent in latents])
    merged = network.predict_projection(network.project(torch.cat(latents)))
    return merged.view(len(latents), -1, merged.shape[-1])
