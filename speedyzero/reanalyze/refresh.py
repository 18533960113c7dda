"""Priority Refresh: recompute priorities, oldest first, without waiting for their positions to be drawn.

A prioritised buffer updates a priority only when its position is drawn; with large batches and few updates most
priorities are stale. Here the newest weights re-evaluate a slice of positions with every batch: p = |v(s_t) - z_t| +
1e-6, where z is the current value target. The idea is named in SpeedyZero's abstract (Mei et al. 2023); the definition
is this project's.

    sweep   every eligible position that was drawn before, oldest priority first; the next begins with newer weights
    budget  `refresh.per_sample` positions per trained sample

The budget is in positions, not seconds, so that no score depends on the machine's speed; the time is measured.
Positions never drawn keep the running maximum. Of the learner's priority and the refreshed one, that of the newer
weights is kept (`Sampler.update`).

Axes: N positions of a slice.
"""

import time

import numpy as np
import torch

from speedyzero.config import RefreshConfig
from speedyzero.model.agent import Agent
from speedyzero.reanalyze.target_maker import TargetMaker
from speedyzero.replay.frames import FrameSource, HostFrames
from speedyzero.replay.sampler import MIN_PRIORITY, Sampler
from speedyzero.replay.shard import Shard
from speedyzero.topology.edges import WeightSource
from speedyzero.topology.records import PriorityRecord
from speedyzero.topology.role_state import RoleState


class PriorityRefresh:
    """Refreshes one shard's priorities with its own copy of the weights."""

    def __init__(
        self,
        config: RefreshConfig,
        shard: Shard,
        sampler: Sampler,
        targets: TargetMaker,
        weights: WeightSource,
        agent: Agent,
        *,
        frames: FrameSource | None = None,
    ):
        """agent: for the newest weights, which are loaded here. frames: as in `TargetMemo`."""
        self._config, self._shard, self._sampler = config, shard, sampler
        self._targets, self._weights, self._agent = targets, weights, agent
        self._slice = config.slice_on(agent.device.type)
        self._frames = frames or HostFrames(shard, torch.device("cpu"))
        self._budget = 0.0  # positions
        self._lane = self._step = np.zeros(0, np.int64)  # what is left of the sweep, oldest priority first
        self._swept_version = -1
        self._refreshed, self._seconds = 0, 0.0
        self._correlation = self._ratio = float("nan")

    def figures(self, version: np.ndarray) -> dict[str, float]:
        """Metrics by name; NaN where there is none yet. version: of each position drawn before, [N], as
        `Sampler.drawn_positions` finds it in all rows."""
        share = float((version >= self._swept_version).mean()) if len(version) else float("nan")
        return {
            "reanalyzer/refreshed": self._refreshed,  # positions, since the run began
            "reanalyzer/refreshed_share": share,  # of positions drawn before, by this sweep's weights or newer
            "reanalyzer/refresh_s": self._seconds,  # since the run began
            "reanalyzer/refresh_rank_correlation": self._correlation,  # Spearman's, of the last slice's priorities
            "reanalyzer/refresh_ratio": self._ratio,  # median of learner's / refreshed priority, where both are recent
        }

    def part(self) -> RoleState:
        """The sweep in progress with its weights, since newer ones may have been published."""
        document = {
            "owed": self._budget,
            "swept_version": self._swept_version,
            "refreshed": self._refreshed,
            "seconds": self._seconds,
        }
        tensors = {"sweep_lane": self._lane, "sweep_step": self._step}
        return RoleState(
            document, {**tensors, "sweep_weights": self._agent.flat} if self._swept_version >= 0 else tensors
        )

    def restore(self, part: RoleState, *, newest_version: int) -> None:
        """Resume a sweep; it starts anew if its weights are newer than the checkpoint."""
        self._budget, self._refreshed, self._seconds = (
            part.document[name] for name in ("owed", "refreshed", "seconds")
        )
        version = part.document["swept_version"]
        if 0 <= version <= newest_version:
            self._agent.load(torch.from_numpy(part.array("sweep_weights")), version=version)
            self._swept_version = version
            self._lane, self._step = part.array("sweep_lane"), part.array("sweep_step")

    def refresh_for(self, samples: int, *, train_step: int) -> None:
        """Add a batch of `samples` to the budget and refresh the whole slices that it covers."""
        self._budget += self._config.per_sample * samples
        while self._budget >= self._slice:
            self._budget -= self._slice
            started_s = time.monotonic()
            if not self._begin_sweep():
                self._budget = 0.0  # all priorities are up to date
                return
            self._refresh_slice(train_step)
            self._seconds += time.monotonic() - started_s

    def _begin_sweep(self) -> bool:
        """Start a sweep if none is in progress; returns whether there is something to refresh."""
        if len(self._lane):
            return True
        record = self._weights.newer_than(self._swept_version)
        if record is None:
            return False
        self._agent.load(record.flat, version=record.version)
        self._swept_version = record.version
        lane, step, version = self._sampler.drawn_positions()
        older = version < record.version
        order = np.argsort(version[older], kind="stable")
        self._lane, self._step = lane[older][order], step[older][order]
        return len(self._lane) > 0

    def _refresh_slice(self, train_step: int) -> None:
        lane, step = self._lane[: self._slice], self._step[: self._slice]
        self._lane, self._step = self._lane[self._slice :], self._step[self._slice :]
        kept = self._sampler.holds(lane, step)  # the others were retired since the sweep began
        lane, step = lane[kept], step[kept]
        if len(lane) == 0:
            return
        slot = step % self._shard.rows
        old, stamp = self._shard.priority[lane, slot].copy(), self._shard.stamp[lane, slot].copy()
        value = self._agent.root_from(self._frames.stacks(lane, step)).value.cpu().numpy()
        target = self._targets.root_values(lane, step, train_step=train_step)
        new = np.abs(value - target) + MIN_PRIORITY
        record = PriorityRecord(lane=lane, step=step, version=self._agent.version, priority=new)
        self._refreshed += self._sampler.update(record)
        self._correlation = rank_correlation(old, new)
        fresh = stamp >= self._agent.version  # trained since the sweep began, by weights only slightly newer
        self._ratio = float(np.median(old[fresh] / new[fresh])) if fresh.any() else self._ratio


def rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Spearman's rank correlation of two samples [N], ties sharing their mean rank; NaN where one is constant."""
    if len(one) < 2:
        return float("nan")
    ranks = np.stack([_mean_ranks(one), _mean_ranks(other)])
    centred = ranks - ranks.mean(1, keepdims=True)
    scale = np.sqrt((centred**2).sum(1).prod())
    return float((centred[0] * centred[1]).sum() / scale) if scale > 0 else float("nan")


def _mean_ranks(values: np.ndarray) -> np.ndarray:
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return (last - (count - 1) / 2.0)[place]
