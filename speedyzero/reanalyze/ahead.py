"""Searches with the next target network while the reanalyzer is idle.

A target network is published one interval before it takes over, so its searches can be done early, which avoids a burst
at the switch. A search is a function of (position, version), so searching ahead changes no target and may depend on
timing. Used on GPUs; on a CPU with shared cores it would take time from other processes.
"""

import numpy as np

from speedyzero.config import Config
from speedyzero.model.agent import Agent
from speedyzero.reanalyze.memo import TargetMemo
from speedyzero.replay.sampler import Sampler
from speedyzero.replay.shard import Shard
from speedyzero.topology.edges import WeightSource


class AheadFiller:
    """Fills a shard's memo for the next target network, most probable positions first."""

    def __init__(
        self, config: Config, shard: Shard, memo: TargetMemo, sampler: Sampler, targets: WeightSource, agent: Agent
    ):
        """agent: for the next target network, whose weights are loaded here."""
        self._interval, self._slice = config.target_interval, config.reanalyze.ahead_batch
        self._shard, self._memo, self._sampler, self._targets, self._agent = shard, memo, sampler, targets, agent
        self._lane = self._step = np.zeros(0, np.int64)
        self._listed_rows = 0  # rows in the shard when positions were last listed

    def switched_to(self, version: int) -> None:
        """Called when a target network has taken over."""
        if version == self._agent.version:
            self._memo.take_over()

    def step(self, target_version: int) -> bool:
        """Search one slice for the network after `target_version`; False if there is nothing to do."""
        following = target_version + self._interval
        if self._agent.version != following:
            record = self._targets.at(following)
            if record is None:
                return False
            self._agent.load(record.flat, version=following)
            self._list_positions()
        elif len(self._lane) == 0 and self._shard.head.sum() > self._listed_rows:
            self._list_positions()  # for rows added since; searched ones are skipped
        if len(self._lane) == 0:
            return False
        lane, step = self._lane[: self._slice], self._step[: self._slice]
        self._lane, self._step = self._lane[self._slice :], self._step[self._slice :]
        kept = self._sampler.holds(lane, step)
        self._memo.fill_ahead(self._agent, lane[kept], step[kept])
        return True

    def _list_positions(self) -> None:
        self._listed_rows = self._shard.head.sum()
        self._lane, self._step = self._sampler.likeliest_first()
