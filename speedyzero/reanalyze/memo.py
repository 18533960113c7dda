"""Cache of the target network's outputs by position, valid while that network is the target.

Search policy, root value and network value are functions of (position, target version) alone: root noise is keyed by
(seed, lane, step, version). (Random ties, first_pick "uniform", also depend on the other positions of a search.) A
table stores them per row; a batch evaluates only stale positions. A second table can be filled ahead for the next
target network. `memo=False` evaluates every request, as the original does.

Axes: E lanes, T rows, N requested positions, M stale ones, A actions.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from speedyzero.config import ReanalyzeConfig, SearchConfig
from speedyzero.model.agent import Agent
from speedyzero.replay.frames import FrameSource, HostFrames
from speedyzero.replay.shard import Shard
from speedyzero.system import keyed_random
from speedyzero.tracing.spans import Span

_VALUES, _SEARCH = Span("network_values"), Span("search")


class MemoTable:
    """One target network's outputs by row. An entry is current if its version and step match: lanes wrap around."""

    def __init__(self, shard: Shard, *, num_actions: int):
        self._rows, shape = shard.rows, (shard.lanes, shard.rows)
        self._value_version = np.full(shape, -1, np.int64)
        self._search_version = np.full(shape, -1, np.int64)
        self._value_step = np.full(shape, -1, np.int64)
        self._search_step = np.full(shape, -1, np.int64)
        self._network_value = np.zeros(shape, np.float32)
        self._root_value = np.zeros(shape, np.float32)
        self._policy = np.zeros((*shape, num_actions), np.float32)

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in vars(self).values() if isinstance(array, np.ndarray))

    def has_value(self, lane: np.ndarray, step: np.ndarray, version: int) -> np.ndarray:
        """[N] bool."""
        slot = step % self._rows
        return (self._value_version[lane, slot] == version) & (self._value_step[lane, slot] == step)

    def has_search(self, lane: np.ndarray, step: np.ndarray, version: int) -> np.ndarray:
        """[N] bool."""
        slot = step % self._rows
        return (self._search_version[lane, slot] == version) & (self._search_step[lane, slot] == step)

    def store_values(self, lane: np.ndarray, step: np.ndarray, value: np.ndarray, version: int) -> None:
        slot = step % self._rows
        self._network_value[lane, slot] = value
        self._value_version[lane, slot] = version
        self._value_step[lane, slot] = step

    def store_search(
        self, lane: np.ndarray, step: np.ndarray, policy: np.ndarray, root_value: np.ndarray, version: int
    ) -> None:
        slot = step % self._rows
        self._policy[lane, slot] = policy
        self._root_value[lane, slot] = root_value
        self._search_version[lane, slot] = version
        self._search_step[lane, slot] = step

    def current(self, version: int) -> dict[str, np.ndarray]:
        """All outputs of one network with their positions, as the two `store` methods take them."""
        value_lane, value_slot = np.nonzero(self._value_version == version)
        search_lane, search_slot = np.nonzero(self._search_version == version)
        return {
            "value_lane": value_lane,
            "value_step": self._value_step[value_lane, value_slot],
            "network_value": self._network_value[value_lane, value_slot],
            "search_lane": search_lane,
            "search_step": self._search_step[search_lane, search_slot],
            "policy": self._policy[search_lane, search_slot],
            "root_value": self._root_value[search_lane, search_slot],
        }

    def network_values(self, lane: np.ndarray, step: np.ndarray) -> np.ndarray:
        return self._network_value[lane, step % self._rows]

    def root_values(self, lane: np.ndarray, step: np.ndarray) -> np.ndarray:
        return self._root_value[lane, step % self._rows]

    def policies(self, lane: np.ndarray, step: np.ndarray) -> np.ndarray:
        return self._policy[lane, step % self._rows]


class TargetMemo:
    """Values and searched policies by position, of the target network and of the next one."""

    def __init__(
        self,
        shard: Shard,
        config: ReanalyzeConfig,
        search: SearchConfig,
        *,
        num_actions: int,
        seed: int,
        frames: FrameSource | None = None,
    ):
        """frames: the shard's, for the agents' device; None: gathered on the host, for agents on the CPU."""
        self._shard, self._config, self._search, self._seed = shard, config, search, seed
        self._frames = frames or HostFrames(shard, torch.device("cpu"))
        self._num_actions = num_actions
        self._table = MemoTable(shard, num_actions=num_actions)
        self._ahead: MemoTable | None = None  # allocated on first use
        self.requested_searches = 0
        self.done_searches = 0
        self.ahead_searches = 0

    @property
    def nbytes(self) -> int:
        return self._table.nbytes + (self._ahead.nbytes if self._ahead is not None else 0)

    def network_values(self, agent: Agent, lane: np.ndarray, step: np.ndarray) -> np.ndarray:
        """The target network's values, [N] float32. lane, step: [N] int64."""
        stale = self._once(lane, step, ~self._table.has_value(lane, step, agent.version))
        for part in self._parts(stale):
            with _VALUES:
                value = agent.root_from(self._frames.stacks(lane[part], step[part])).value.cpu().numpy()
            self._table.store_values(lane[part], step[part], value, agent.version)
        return self._table.network_values(lane, step)

    def policies(self, agent: Agent, lane: np.ndarray, step: np.ndarray) -> np.ndarray:
        """Searched policies, [N, A] float32. lane, step: [N] int64."""
        self._search_stale(agent, lane, step)
        return self._table.policies(lane, step)

    def root_values(self, agent: Agent, lane: np.ndarray, step: np.ndarray) -> np.ndarray:
        """Values of searched roots, [N] float32. lane, step: [N] int64."""
        self._search_stale(agent, lane, step)
        return self._table.root_values(lane, step)

    def fill_ahead(self, agent: Agent, lane: np.ndarray, step: np.ndarray) -> int:
        """Search distinct positions for the next target network; returns how many were new."""
        if self._ahead is None:
            self._ahead = MemoTable(self._shard, num_actions=self._num_actions)
        (stale,) = np.nonzero(~self._ahead.has_search(lane, step, agent.version))
        for part in self._parts(stale):
            self._search_part(self._ahead, agent, lane[part], step[part])
        self.ahead_searches += len(stale)
        return len(stale)

    def remembered(self, version: int) -> dict[str, np.ndarray]:
        """The target network's outputs, for a checkpoint; empty without the memo.

        Recomputed outputs would differ by rounding, which depends on the other positions of a batch.
        """
        return self._table.current(version) if self._config.memo else {}

    def recall(self, outputs: Mapping[str, np.ndarray], version: int) -> None:
        """Restore outputs returned by `remembered`."""
        if outputs:
            self._table.store_values(outputs["value_lane"], outputs["value_step"], outputs["network_value"], version)
            self._table.store_search(
                outputs["search_lane"], outputs["search_step"], outputs["policy"], outputs["root_value"], version
            )

    def take_over(self) -> None:
        """The next target network becomes the target."""
        if self._ahead is not None:
            self._table, self._ahead = self._ahead, self._table

    def _search_stale(self, agent: Agent, lane: np.ndarray, step: np.ndarray) -> None:
        stale = self._once(lane, step, ~self._table.has_search(lane, step, agent.version))
        self.requested_searches += len(lane)
        self.done_searches += len(stale)
        for part in self._parts(stale):
            self._search_part(self._table, agent, lane[part], step[part])

    def _search_part(self, table: MemoTable, agent: Agent, lane: np.ndarray, step: np.ndarray) -> None:
        with _SEARCH:
            root = agent.root_from(self._frames.stacks(lane, step))
            noise = self._noise(lane, step, agent.version, agent.num_actions)
            result = agent.search_from(root, noise=noise, tie_seed=self._tie_seed(lane[0], step[0], agent.version))
            table.store_values(lane, step, root.value.cpu().numpy(), agent.version)
            table.store_search(lane, step, result.policy.cpu().numpy(), result.value.cpu().numpy(), agent.version)

    def _once(self, lane: np.ndarray, step: np.ndarray, is_stale: np.ndarray) -> np.ndarray:
        """Indices of the requests to evaluate, [M]: with the memo each stale position once, otherwise all."""
        if not self._config.memo:
            return np.arange(len(lane))
        (stale,) = np.nonzero(is_stale)
        _, once = np.unique(lane[stale] * self._shard.rows + step[stale] % self._shard.rows, return_index=True)
        return stale[once]

    def _parts(self, indices: np.ndarray) -> list[np.ndarray]:
        size = self._config.search_batch
        return [indices[i : i + size] for i in range(0, len(indices), size)]

    def _noise(self, lane: np.ndarray, step: np.ndarray, version: int, num_actions: int) -> np.ndarray | None:
        if not self._config.root_noise:
            return None
        keys = keyed_random.keys(self._seed, keyed_random.REANALYZE_NOISE, lane, step, version)
        return keyed_random.root_noise(
            keys, num_actions, algorithm=self._search.algorithm, alpha=self._search.root_dirichlet_alpha
        )

    def _tie_seed(self, lane: int, step: int, version: int) -> int:
        return keyed_random.seed_for(self._seed, keyed_random.REANALYZE_NOISE, lane, step, ~version)
