"""Target projections with batch norm folded into the weights: the option `learner.folded_targets`.

The K target passes of the representation are half of a step's arithmetic (B.11). Folding in the running statistics
saves the norms' passes over memory. In exchange, targets are those of the network in evaluation mode, and their frames
do not update the running statistics. Called by `batch_loss.py`.

Axes: B batch, K unroll steps, P projection.
"""

import torch

from speedyzero.learner.unroll import TargetViews, target_views
from speedyzero.model.base import Network
from speedyzero.model.blocks import fold_into, folded_copy

_USED = ("representation", "projector")


class FoldedTargets:
    """A network's representation and projector, with norms folded in again at every call."""

    def __init__(self, network: Network, *, dtype: torch.dtype):
        """network: EfficientZero's, in training form. dtype: of the folded weights."""
        folded = folded_copy(network)
        assert isinstance(folded, Network)
        for name, _ in list(folded.named_children()):
            if name not in _USED:
                delattr(folded, name)
        self._network, self._folded = network, folded.to(dtype)

    def __call__(self, observations: list[torch.Tensor]) -> TargetViews:
        """As `target_views`."""
        fold_into(self._folded, self._network)
        return target_views(self._folded, observations)
