"""Target projections by running statistics, folded into the weights."""

import torch

from speedyzero.config import LearnerConfig
from speedyzero.learner.folded_targets import FoldedTargets
from speedyzero.learner.unroll import target_views
from tests.learner.small_learner import BATCH, small_batch, small_learner
from tests.model.networks import IMAGE_SPEC, VECTOR_SPEC, randomise, tiny_network


def stacks(count: int = 3) -> list[torch.Tensor]:
    return [torch.rand(2, 6, 36, 36, generator=torch.Generator().manual_seed(seed)) for seed in range(count)]


def test_they_are_those_of_the_network_in_evaluation_mode():
    """Also after its weights and statistics have changed; the network itself stays in training mode, untouched."""
    network = tiny_network(IMAGE_SPEC)
    targets = FoldedTargets(network, dtype=torch.float32)
    seen = []
    for seed in (1, 2):
        randomise(network, seed=seed)
        before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        projection = targets(stacks()).projection
        assert network.training and not projection.requires_grad
        assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
        expected = target_views(network.eval(), stacks()).projection
        batch_statistics = target_views(network.train(), stacks()).projection
        torch.testing.assert_close(projection, expected, rtol=1e-4, atol=1e-4)
        assert (projection - batch_statistics).abs().max() > 0.1
        seen.append(projection)
    assert (seen[0] - seen[1]).abs().max() > 0.1


def test_a_learner_uses_them_where_it_is_told_to():
    """Another loss from the first batch on; target frames no longer enter the statistics. LayerNorm knows none."""
    losses, batches, predicted = {}, {}, {}
    for spec in (IMAGE_SPEC, VECTOR_SPEC):
        for folded in (False, True):
            learner = LearnerConfig(batch_size=BATCH, shift_px=0, intensity_scale=0.0, folded_targets=folded)
            small = small_learner(spec, learner=learner)
            loss = small.learner.train_on(small_batch(), 1)
            losses[spec.is_image, folded] = loss.consistency.item()
            if spec.is_image:
                batches[folded] = small.network.representation.stem.norm.num_batches_tracked.item()
                predicted[folded] = small.network.value_head.hidden.norm.num_batches_tracked.item()
    assert losses[True, False] != losses[True, True] and losses[False, False] == losses[False, True]
    assert batches == {False: 4, True: 1}  # three target stacks and the root's
    assert predicted == {False: 7, True: 7}  # four unrolled states, and three views either way
