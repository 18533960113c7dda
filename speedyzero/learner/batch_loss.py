"""The loss of a batch: target views, unroll, and loss.

The network computes in bfloat16 (autocast) on a GPU and in float32 on the CPU; losses are float32. Called by
`trainer.py`; benchmarks time its parts.

Axes: B batch, K unroll steps, P projection.
"""

from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch

from speedyzero.config import Config
from speedyzero.learner.batch import Batch
from speedyzero.learner.folded_targets import FoldedTargets
from speedyzero.learner.loss import Loss, Targets, loss_of
from speedyzero.learner.unroll import TargetViews, consistency_steps, target_views, unroll
from speedyzero.model.base import Network
from speedyzero.model.codec import ScalarCodec


class BatchLoss:
    """The loss of one network, with its current weights, as a function of a batch."""

    def __init__(self, config: Config, network: Network, *, device: torch.device, autocast: bool | None = None):
        """network: in training mode, on `device`. autocast: whether to use bfloat16; None: only on a GPU."""
        self._config, self._network, self._device = config, network, device
        self._autocasts = device.type == "cuda" if autocast is None else autocast
        self._value_codec = ScalarCodec(config.model.value_codec).to(device)
        self._prefix_codec = ScalarCodec(config.model.prefix_codec).to(device)
        learner = config.learner
        self._consistency_steps = consistency_steps(config)
        self._folded_targets: FoldedTargets | None = None
        if learner.folded_targets and network.norm_mixes_batch:
            dtype = torch.bfloat16 if self._autocasts else next(network.parameters()).dtype
            self._folded_targets = FoldedTargets(network, dtype=dtype)

    def __call__(self, batch: Batch) -> Loss:
        return self.against(batch, self.views(batch))

    def views(self, batch: Batch) -> TargetViews | None:
        """Targets for the projections of unrolled states; None without the consistency loss."""
        if not self._consistency_steps:
            return None
        # Its own autocast context, whose cache holds weights cast without a graph: `against` must not reuse them.
        with self._autocast():
            make_views = self._folded_targets or partial(target_views, self._network)
            return make_views(list(batch.following))

    def against(self, batch: Batch, views: TargetViews | None) -> Loss:
        """The loss, given the target views."""
        config = self._config
        with self._autocast():
            unrolled = unroll(
                self._network,
                batch.root,
                batch.action,
                prefix_horizon=config.search.prefix_horizon,
                gradient_scale=config.learner.dynamics_gradient_scale,
                projected_steps=self._consistency_steps,
                projected_every=config.learner.consistency_every,
                views=views.latents if views is not None else (),
            )
        targets = Targets(
            action_mask=batch.action_mask,
            value=batch.value,
            prefix=batch.prefix,
            policy=batch.policy,
            weight=batch.weight,
            projection=views.projection if views is not None else None,
        )
        return loss_of(
            unrolled, targets, config=config.learner, value_codec=self._value_codec, prefix_codec=self._prefix_codec
        )

    def _autocast(self) -> AbstractContextManager[object]:
        return torch.autocast(self._device.type, dtype=torch.bfloat16) if self._autocasts else nullcontext()
