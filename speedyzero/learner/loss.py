"""EfficientZero's loss. Ye et al. 2021, eq. 5 and App. A; masks past the end as in the corrected reference.

    per sample  L = prefix   sum_j m_j CE(prefix_j)
                  + value   (CE(value_0)  + sum_j m_j CE(value_{j+1}))
                  + policy  (CE(policy_0) + sum_j m_j CE(policy_{j+1}))
                  + consistency sum_j m_j (-cos(predicted projection_{j+1}, projection of the frame seen))
    batch       mean_b w_b L_b / K           m_j = 1 where action t+j was taken in the root's episode

Axes: B batch, K unroll steps, A actions, N bins, P projection.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np
import torch
from torch.nn import functional as F

from speedyzero.config import LearnerConfig
from speedyzero.learner.unroll import Unrolled
from speedyzero.model.codec import ScalarCodec


@dataclass(frozen=True)
class Targets:
    action_mask: torch.Tensor  # [B, K] float32
    value: torch.Tensor  # [B, K+1] float32
    prefix: torch.Tensor  # [B, K] float32
    policy: torch.Tensor  # [B, K+1, A] float32
    weight: torch.Tensor  # [B] float32: importance weights, at most 1
    projection: torch.Tensor | None  # [J, B / n, P]: of J <= K steps and every n-th sample


@dataclass(frozen=True)
class Loss:
    total: torch.Tensor  # []: what is differentiated
    prefix: torch.Tensor  # []: unweighted means per sample, for metrics
    value: torch.Tensor
    policy: torch.Tensor
    consistency: torch.Tensor
    mean_root_value: torch.Tensor
    policy_entropy: torch.Tensor  # of the root, in nats: what the network expects the search to find
    target_policy_entropy: torch.Tensor  # what the search found
    policy_information: torch.Tensor  # of the root's policy about the position, in nats; 0: it ignores the input
    projection_similarity: torch.Tensor  # mean cosine between projections of two samples; 1: collapsed
    value_entropy: torch.Tensor  # of the distribution over the value's bins
    root_value: torch.Tensor  # [B]: predicted value of the root, in reward units

    FIGURES: ClassVar[int] = 11

    @property
    def figures(self) -> torch.Tensor:
        """Every figure that is a mean over the samples, [FIGURES], `total` first."""
        means = (getattr(self, name) for name in _FIGURE_NAMES)
        return torch.stack([mean.detach() for mean in means])

    @staticmethod
    def of_figures(figures: torch.Tensor, root_value: torch.Tensor) -> Loss:
        return Loss(**dict(zip(_FIGURE_NAMES, figures.unbind(), strict=True)), root_value=root_value)


_FIGURE_NAMES = tuple(field.name for field in fields(Loss))[: Loss.FIGURES]


def importance_weights(probability: np.ndarray, *, beta: float) -> np.ndarray:
    """P^-beta, [B] float64; the replay's size N drops out when they are divided by the largest. probability: [B]."""
    return probability**-beta


def loss_of(
    unrolled: Unrolled, targets: Targets, *, config: LearnerConfig, value_codec: ScalarCodec, prefix_codec: ScalarCodec
) -> Loss:
    """The batch's loss, in float32 whatever the network computed in."""
    mask = targets.action_mask.T  # [K, B]
    root_mask = torch.ones_like(targets.weight)[None]
    state_mask = torch.cat([root_mask, mask])  # [K+1, B]: the first state past the end is trained
    value = _cross_entropy(unrolled.value_logits, value_codec.encode(targets.value.T)) * state_mask
    policy = _cross_entropy(unrolled.policy_logits, targets.policy.transpose(0, 1)) * state_mask
    prefix = _cross_entropy(unrolled.prefix_logits, prefix_codec.encode(targets.prefix.T)) * mask
    per_sample = (
        config.prefix_coefficient * prefix.sum(0)
        + config.value_coefficient * value.sum(0)
        + config.policy_coefficient * policy.sum(0)
    )
    consistency, similarity = torch.zeros_like(prefix), prefix.new_zeros(())
    if unrolled.projection is not None and targets.projection is not None:
        cosine = F.cosine_similarity(unrolled.projection.float(), targets.projection.float(), dim=-1, eps=1e-5)
        every = config.consistency_every
        consistency = -cosine * mask[: len(cosine), ::every]
        seen = torch.zeros_like(per_sample)
        seen[::every] = every * consistency.sum(0)  # the batch mean keeps its scale
        per_sample = per_sample + config.consistency_coefficient * seen
        similarity = _similarity(targets.projection[0].float())
    root_policy_logits = unrolled.policy_logits[0].detach()
    root_value_logits = unrolled.value_logits[0].detach()
    root_value = value_codec.decode(root_value_logits)
    return Loss(
        total=(targets.weight * per_sample).mean() / max(1, mask.shape[0]),
        prefix=prefix.detach().sum(0).mean(),
        value=value.detach().sum(0).mean(),
        policy=policy.detach().sum(0).mean(),
        consistency=consistency.detach().sum(0).mean(),
        mean_root_value=root_value.mean(),
        policy_entropy=_entropy(root_policy_logits),
        target_policy_entropy=torch.special.entr(targets.policy[:, 0]).sum(-1).mean(),
        policy_information=_information(root_policy_logits),
        projection_similarity=similarity,
        value_entropy=_entropy(root_value_logits),
        root_value=root_value,
    )


def _cross_entropy(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """-sum target log softmax(logits) over the last axis; 0 for a target of zeros."""
    return -(target * F.log_softmax(logits.float(), dim=-1)).sum(-1)


def _entropy(logits: torch.Tensor) -> torch.Tensor:
    """[]: mean of the entropies, in nats, of distributions over the last axis."""
    log_share = F.log_softmax(logits.float(), dim=-1)
    return -(log_share.exp() * log_share).sum(-1).mean()


def _information(logits: torch.Tensor) -> torch.Tensor:
    """[]: entropy of the batch's mean policy less the mean entropy of its policies, in nats. logits: [B, A]."""
    mean = F.softmax(logits.float(), dim=-1).mean(0)
    return torch.special.entr(mean).sum() - _entropy(logits)


def _similarity(projection: torch.Tensor) -> torch.Tensor:
    """[]: mean cosine over all pairs of different samples. projection: [B, P]."""
    batch = projection.shape[0]
    total = F.normalize(projection, dim=-1).sum(0)
    return (total.square().sum() - batch) / max(1, batch * (batch - 1))
