"""Publishes weights for actors and snapshots for the target network, each on its interval."""

from collections import deque

from speedyzero.checkpoint.published import Published
from speedyzero.config import Config
from speedyzero.learner.group import LoneLearner
from speedyzero.model.base import Network
from speedyzero.model.flat import flatten
from speedyzero.topology.edges import LearnerEdges
from speedyzero.topology.records import WeightsRecord


class Publisher:
    """One rank's publisher. All ranks average their buffers; those with weight slots publish."""

    def __init__(self, config: Config, edges: LearnerEdges, network: Network, group: LoneLearner):
        self._weights, self._targets, self._network, self._group = edges.weights, edges.targets, network, group
        self._acting_interval = config.publish_interval
        self._target_interval = config.target_interval
        # The last published records, for checkpoints.
        self._kept_acting: deque[WeightsRecord] = deque(maxlen=1)
        self._kept_targets: deque[WeightsRecord] = deque(maxlen=2)

    @property
    def published(self) -> Published:
        return Published(tuple(self._kept_acting), tuple(self._kept_targets))

    def publish(self, train_steps: int) -> None:
        """Publish the network after this many train steps to the slots that are due."""
        for_actors = train_steps % self._acting_interval == 0
        for_targets = train_steps % self._target_interval == 0
        if not for_actors and not for_targets:
            return
        self._group.average_buffers()
        if self._weights is None or self._targets is None:
            return
        record = WeightsRecord(version=train_steps, flat=flatten(self._network))
        if for_actors:
            self._weights.publish(record)
            self._kept_acting.append(record)
        if for_targets:
            self._targets.publish(record)
            self._kept_targets.append(record)

    def publish_again(self, published: Published) -> None:
        """In a resumed run: publish the checkpoint's records."""
        for records, sink, kept in (
            (published.acting, self._weights, self._kept_acting),
            (published.targets, self._targets, self._kept_targets),
        ):
            for record in records:
                kept.append(record)
                if sink is not None:
                    sink.publish(record)
