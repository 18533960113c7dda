"""The loss by hand, and what is only recorded. Sample after sample against the design's B.7: test_learner.py;
against EfficientZero's own numbers: tests/parity."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from speedyzero.config import CodecConfig, LearnerConfig
from speedyzero.learner.loss import Loss, Targets, importance_weights, loss_of
from speedyzero.learner.unroll import Unrolled
from speedyzero.model.codec import ScalarCodec

B, K, A, P = 6, 3, 4, 5
VALUE_CODEC, PREFIX_CODEC = CodecConfig(limit=4.0, step=0.5), CodecConfig(limit=2.0, step=0.25)
CONFIG = LearnerConfig(
    prefix_coefficient=1.5, value_coefficient=0.25, policy_coefficient=0.75, consistency_coefficient=2.0
)


def random_unrolled(seed: int = 0) -> Unrolled:
    generator = torch.Generator().manual_seed(seed)
    return Unrolled(
        policy_logits=torch.randn(K + 1, B, A, generator=generator),
        value_logits=torch.randn(K + 1, B, VALUE_CODEC.bins, generator=generator),
        prefix_logits=torch.randn(K, B, PREFIX_CODEC.bins, generator=generator),
        projection=torch.randn(K, B, P, generator=generator),
    )


def random_targets(seed: int = 1) -> Targets:
    """Samples whose episodes continue, and end after 0, 1 and 2 more actions."""
    generator = torch.Generator().manual_seed(seed)
    length = torch.tensor([K, 1, 2, K, 0, K])
    policy = torch.softmax(torch.randn(B, K + 1, A, generator=generator), -1)
    past_end = torch.arange(K + 1) > length[:, None] - 1
    past_end[length == K, K] = False
    policy[past_end] = 0.0
    return Targets(
        action_mask=(torch.arange(K) < length[:, None]).float(),
        value=4 * torch.randn(B, K + 1, generator=generator),
        prefix=2 * torch.randn(B, K, generator=generator),
        policy=policy,
        weight=torch.rand(B, generator=generator),
        projection=torch.randn(K, B, P, generator=generator),
    )


def loss(unrolled: Unrolled, targets: Targets, config: LearnerConfig = CONFIG) -> Loss:
    value_codec, prefix_codec = ScalarCodec(VALUE_CODEC), ScalarCodec(PREFIX_CODEC)
    return loss_of(unrolled, targets, config=config, value_codec=value_codec, prefix_codec=prefix_codec)


def test_entropies_of_the_roots_by_a_scalar_loop():
    """The policy's of network and search, and the value's over its bins; the search's shares may be 0."""
    unrolled, targets = random_unrolled(), random_targets()
    targets.policy[0, 0] = torch.tensor([0.0, 0.25, 0.75, 0.0])

    def entropy(shares: list[float]) -> float:
        return -sum(share * math.log(share) for share in shares if share)

    def mean_entropy(rows: torch.Tensor) -> float:
        return sum(entropy(row.tolist()) for row in rows) / B

    actual = loss(unrolled, targets)
    expected = {
        "policy_entropy": mean_entropy(torch.softmax(unrolled.policy_logits[0].double(), -1)),
        "target_policy_entropy": mean_entropy(targets.policy[:, 0].double()),
        "value_entropy": mean_entropy(torch.softmax(unrolled.value_logits[0].double(), -1)),
    }
    for name, value in expected.items():
        assert getattr(actual, name).item() == pytest.approx(value, rel=1e-5)


def test_by_hand():
    """Flat logits cost log N whatever the target: one action taken, one sample, K = 2."""
    unrolled = Unrolled(torch.zeros(3, 1, 4), torch.zeros(3, 1, 17), torch.zeros(2, 1, 17), torch.ones(2, 1, 3))
    targets = Targets(
        action_mask=torch.tensor([[1.0, 0.0]]),
        value=torch.tensor([[1.0, -2.0, 0.0]]),
        prefix=torch.tensor([[0.5, 7.0]]),
        policy=torch.tensor([[[0.0, 1.0, 0.0, 0.0], [0.0] * 4, [0.0] * 4]]),  # the second state is past the end
        weight=torch.tensor([0.5]),
        projection=torch.ones(2, 1, 3),
    )
    # prefix log 17; value twice (the first state past the end too); policy of the root; consistency -1
    per_sample = 1.5 * math.log(17) + 0.25 * 2 * math.log(17) + 0.75 * math.log(4) - 2.0
    assert loss(unrolled, targets).total.item() == pytest.approx(0.5 * per_sample / 2, rel=1e-6)


def test_what_is_only_recorded_carries_no_graph():
    leaves = {name: tensor.requires_grad_() for name, tensor in vars(random_unrolled()).items()}
    result = loss(Unrolled(**leaves), random_targets())
    assert [name for name, tensor in vars(result).items() if tensor.requires_grad] == ["total"]


def test_without_projections_there_is_no_consistency_term():
    unrolled, targets = random_unrolled(), random_targets()
    without = loss(replace(unrolled, projection=None), replace(targets, projection=None))
    silent = loss(unrolled, targets, replace(CONFIG, consistency_coefficient=0.0))
    assert without.consistency.item() == 0.0
    assert without.total.item() == pytest.approx(silent.total.item(), rel=1e-6)


def test_the_loss_is_in_float32():
    unrolled, targets = random_unrolled(), random_targets()
    half = Unrolled(**{name: tensor.bfloat16() for name, tensor in vars(unrolled).items()})
    again = Unrolled(**{name: tensor.float() for name, tensor in vars(half).items()})
    assert loss(half, targets).total.dtype == torch.float32
    assert loss(half, targets).total.item() == loss(again, targets).total.item()


@pytest.mark.parametrize(
    ("beta", "expected"),
    [
        (1.0, [0.25, 0.5, 1.0, 1.0]),  # N P = 2, 1, 1/2, 1/2
        (0.5, [0.5, 2**-0.5, 1.0, 1.0]),
        (0.0, [1.0, 1.0, 1.0, 1.0]),
    ],
)
def test_importance_weights_by_hand(beta, expected):
    weight = importance_weights(np.array([0.5, 0.25, 0.125, 0.125]), beta=beta)
    assert weight.dtype == np.float64 and (weight / weight.max()).tolist() == pytest.approx(expected)
