"""What the target network says of each position, remembered for as long as that network is the target.

Search policy, root value and network value are functions of (position, target version) alone, the root noise being
keyed by (seed, lane, step, version). (Ties at random, first_pick "uniform", also depend on who is searched together.)
The table keeps them beside the rows; a batch evaluates only what is stale. `memo=False` evaluates every request anew,
each position once per time it is asked for: the original behaviour.

Axes: E lanes, T rows, N requested positions, M stale ones, A actions.
"""

from __future__ import annotations

import numpy as np

from speedyzero import keyed_random
from speedyzero.config import ReanalyzeConfig, SearchConfig
from speedyzero.model.agent import Agent
from speedyzero.replay.shard import Shard


class TargetMemo:
    """Values and searched policies by position, for one target network at a time."""

    def __init__(self, shard: Shard, config: ReanalyzeConfig, search: SearchConfig, *, num_actions: int, seed: int):
        self._shard, self._config, self._search, self._seed = shard, config, search, seed
        shape = (shard.lanes, shard.rows)
        # A row is current where its stamp is the target's version and its step the one asked for.
        self._value_version = np.full(shape, -1, np.int64)
        self._search_version = np.full(shape, -1, np.int64)
        self._value_step = np.full(shape, -1, np.int64)
        self._search_step = np.full(shape, -1, np.int64)
        self._network_value = np.zeros(shape, np.float32)
        self._root_value = np.zeros(shape, np.float32)
        self._policy = np.zeros((*shape, num_actions), np.float32)
        self.requested_searches = 0
        self.done_searches = 0

    def network_values(self, agent: Agent, lane: np.ndarray, step: np.ndarray) -> np.ndarray:
        """The target network's values, [N] float32. lane, step: [N] int64."""
        slot = step % self._shard.rows
        stale = self._stale(self._value_version, self._value_step, lane, step, agent.version)
        for part in self._parts(stale):
            value = agent.root(self._shard.gather_stacks(lane[part], step[part])).value.cpu().numpy()
            self._store_values(lane[part], step[part], value, agent.version)
        return self._network_value[lane, slot]

    def policies(self, agent: Agent, lane: np.ndarray, step: np.ndarray) -> np.ndarray:
        """Searched policies, [N, A] float32. lane, step: [N] int64."""
        self._search_stale(agent, lane, step)
        return self._policy[lane, step % self._shard.rows]

    def root_values(self, agent: Agent, lane: np.ndarray, step: np.ndarray) -> np.ndarray:
        """Values of searched roots, [N] float32. lane, step: [N] int64."""
        self._search_stale(agent, lane, step)
        return self._root_value[lane, step % self._shard.rows]

    def _search_stale(self, agent: Agent, lane: np.ndarray, step: np.ndarray) -> None:
        stale = self._stale(self._search_version, self._search_step, lane, step, agent.version)
        self.requested_searches += len(lane)
        self.done_searches += len(stale)
        for part in self._parts(stale):
            self._search_part(agent, lane[part], step[part])

    def _search_part(self, agent: Agent, lane: np.ndarray, step: np.ndarray) -> None:
        root = agent.root(self._shard.gather_stacks(lane, step))
        noise = self._noise(lane, step, agent.version, agent.num_actions)
        result = agent.search_from(root, noise=noise, tie_seed=self._tie_seed(lane[0], step[0], agent.version))
        slot = step % self._shard.rows
        self._store_values(lane, step, root.value.cpu().numpy(), agent.version)
        self._policy[lane, slot] = result.policy.cpu().numpy()
        self._root_value[lane, slot] = result.value.cpu().numpy()
        self._search_version[lane, slot] = agent.version
        self._search_step[lane, slot] = step

    def _store_values(self, lane: np.ndarray, step: np.ndarray, value: np.ndarray, version: int) -> None:
        slot = step % self._shard.rows
        self._network_value[lane, slot] = value
        self._value_version[lane, slot] = version
        self._value_step[lane, slot] = step

    def _stale(self, versions, steps, lane: np.ndarray, step: np.ndarray, version: int) -> np.ndarray:
        """Indices of the requests to evaluate, [M]; with the memo each position at most once."""
        if not self._config.memo:
            return np.arange(len(lane))
        slot = step % self._shard.rows
        (stale,) = np.nonzero((versions[lane, slot] != version) | (steps[lane, slot] != step))
        _, once = np.unique(lane[stale] * self._shard.rows + slot[stale], return_index=True)
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
