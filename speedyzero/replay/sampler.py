"""Prioritised sampling of positions. Schaul et al. 2016, mixed with uniform sampling.

    P(i) = (1 - u) p_i^alpha / sum p^alpha + u / N        u = uniform_share, N eligible positions

With zero-initialised heads and sparse reward most priorities are tiny; without the uniform share such a position would
be drawn once in thousands of batches, and its importance weight would scale down all others of its batch.

Sampling is stratified, with replacement: one draw falls in each [i/B, (i+1)/B), in random order.

Axes: E lanes, T rows, B draws.
"""

from dataclasses import dataclass

import numpy as np

from speedyzero.config import ReplayConfig
from speedyzero.replay.shard import Shard
from speedyzero.replay.sum_tree import SumTree
from speedyzero.system import keyed_random
from speedyzero.topology.records import PriorityRecord

MIN_PRIORITY = 1e-6


@dataclass(frozen=True)
class Sample:
    lane: np.ndarray  # [B] int64
    step: np.ndarray  # [B] int64
    probability: np.ndarray  # [B] float64


class Sampler:
    """Priorities of a shard's positions and the draws from them."""

    def __init__(self, shard: Shard, config: ReplayConfig, *, seed: int, first_draw: int = 0):
        """Adopts the rows that the shard already holds. first_draw: batches drawn by predecessors."""
        self._shard, self._alpha, self._uniform_share, self._seed = shard, config.alpha, config.uniform_share, seed
        size = shard.lanes * shard.rows
        self._weights = SumTree(size)  # p^alpha, 0 where not eligible
        self._eligible = SumTree(size)  # 1 where eligible
        self._draws = first_draw
        shard.largest_priority[0] = max(1.0, shard.largest_priority[0])
        self._retired = shard.oldest_eligible()  # older steps are no longer eligible
        for lane in range(shard.lanes):
            self._adopt(lane)

    @property
    def draws(self) -> int:
        """Batches drawn so far, a predecessor's included."""
        return self._draws

    @property
    def size(self) -> int:
        """Eligible positions."""
        return round(self._eligible.total)

    def follow(self, *, actor: int = 0) -> None:
        """After an append to an actor's lanes: admit the positions it completed, retire those soon overwritten."""
        shard = self._shard
        lane = shard.lanes_of(actor)
        step = shard.newest_eligible()[lane]
        admit = step >= 0
        admit[admit] = ~shard.last[lane[admit], step[admit] % shard.rows]
        self._admit(lane[admit], step[admit])
        oldest = shard.oldest_eligible()[lane]
        while np.any(retire := self._retired[lane] < oldest):  # once per append in the steady state
            leaf = self._leaf(lane[retire], self._retired[lane[retire]])
            self._weights.set(leaf, np.zeros(len(leaf)))
            self._eligible.set(leaf, np.zeros(len(leaf)))
            self._retired[lane[retire]] += 1

    def update(self, record: PriorityRecord) -> int:
        """Store new priorities; returns how many were accepted.

        Skips positions that are not eligible and priorities older than the stored one. Raises ValueError for a priority
        that is not finite, which would corrupt every sum.
        """
        if not np.isfinite(record.priority).all():
            bad = np.flatnonzero(~np.isfinite(record.priority))[0]
            raise ValueError(f"priority {record.priority[bad]} of lane {record.lane[bad]}, step {record.step[bad]}")
        current = record.step >= self._retired[record.lane]  # the slot still holds this step
        current &= self._eligible.get(self._leaf(record.lane, record.step)) > 0
        current &= record.version >= self._shard.stamp[record.lane, record.step % self._shard.rows]
        lane, step, priority = record.lane[current], record.step[current], record.priority[current]
        if len(lane):
            priority = np.maximum(priority, MIN_PRIORITY)
            self._shard.largest_priority[0] = max(self._shard.largest_priority[0], priority.max())
            self._set(lane, step, priority, version=record.version)
        return len(lane)

    def drawn_positions(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Lane, step and stamp of eligible positions with a priority computed since admission, [N] int64 each."""
        shard = self._shard
        slot_version = shard.stamp.reshape(-1)
        (leaf,) = np.nonzero((self._eligible.leaves[: len(slot_version)] > 0) & (slot_version >= 0))
        lane, step = self._position(leaf)
        return lane, step, slot_version[leaf]

    def likeliest_first(self) -> tuple[np.ndarray, np.ndarray]:
        """Lane and step of every eligible position, [N] int64 each, most probable first."""
        (leaf,) = np.nonzero(self._eligible.leaves)
        order = np.argsort(-self._weights.leaves[leaf], kind="stable")
        return self._position(leaf[order])

    def holds(self, lane: np.ndarray, step: np.ndarray) -> np.ndarray:
        """Whether positions that were once eligible still are, [N] bool."""
        return step >= self._retired[lane]

    def draw(self, batch_size: int) -> Sample:
        """The next stratified draw of positions. Raises ValueError if none is eligible."""
        if self.size == 0:
            raise ValueError("replay holds 0 eligible positions")
        keys = keyed_random.keys(self._seed, keyed_random.SAMPLE, self._draws, np.arange(batch_size))
        self._draws += 1
        within, order = keyed_random.uniform(keys, 2).T
        # Strata follow the lanes; shuffled, so that any slice of the batch is representative.
        position = (np.argsort(order) + within) / batch_size
        share = self._uniform_share
        uniform = position < share
        leaf = np.empty(batch_size, np.int64)
        if uniform.any():
            leaf[uniform] = self._eligible.find(position[uniform] / share * self._eligible.total)
        leaf[~uniform] = self._weights.find((position[~uniform] - share) / (1.0 - share) * self._weights.total)
        probability = (1.0 - share) * self._weights.get(leaf) / self._weights.total + share / self.size
        lane, step = self._position(leaf)
        return Sample(lane=lane, step=step, probability=probability)

    def _position(self, leaf: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Lane and step of the rows currently at the leaves, [N] int64 each."""
        lane, slot = leaf // self._shard.rows, leaf % self._shard.rows
        newest = self._shard.head[lane] - 1
        return lane, newest - (newest - slot) % self._shard.rows

    def _adopt(self, lane: int) -> None:
        """Adopt the positions of a lane that a predecessor left in the shard, with their priorities."""
        shard = self._shard
        step = np.arange(self._retired[lane], shard.newest_eligible()[lane] + 1)
        step = step[~shard.last[lane, step % shard.rows]]
        priority = shard.priority[lane, step % shard.rows]
        lanes, known = np.full(len(step), lane), priority > 0
        self._admit(lanes[~known], step[~known])  # the predecessor died between append and admission
        leaf = self._leaf(lanes[known], step[known])
        self._weights.set(leaf, priority[known].astype(np.float64) ** self._alpha)
        self._eligible.set(leaf, np.ones(len(leaf)))

    def _admit(self, lane: np.ndarray, step: np.ndarray) -> None:
        """Make positions eligible, with the initial priority: the largest so far."""
        priority = np.full(len(step), self._shard.largest_priority[0], np.float32)
        self._set(lane, step, priority, version=-1)
        self._eligible.set(self._leaf(lane, step), np.ones(len(step)))

    def _leaf(self, lane: np.ndarray, step: np.ndarray) -> np.ndarray:
        return lane * self._shard.rows + step % self._shard.rows

    def _set(self, lane: np.ndarray, step: np.ndarray, priority: np.ndarray, *, version: int) -> None:
        slot = step % self._shard.rows
        self._shard.priority[lane, slot] = priority
        self._shard.stamp[lane, slot] = version
        self._weights.set(self._leaf(lane, step), priority.astype(np.float64) ** self._alpha)
