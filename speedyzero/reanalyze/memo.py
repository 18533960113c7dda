"""Cache of the target network's outputs by position, valid while that network is the target.

Search policy, root value and network value are functions of (position, target version) alone: root noise is keyed by
(seed, lane, step, version). (Random ties, first_pick "uniform", also depend on the other positions of a search.) A
table stores them per row; a batch evaluates only stale positions. A second table can be filled ahead for the next
target network. `memo=False` evaluates every request, as the original does.

Axes: E lanes, T rows, N requested positions, M stale ones, A actions.
"""

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


class Outputs:
    """Outputs of one target network by row. An entry is current if version and step match: lanes wrap around."""

    def __init__(self, shard: Shard, kind: str, **shapes: tuple[int, ...]):
        """kind: begins the names of their positions in a checkpoint. shapes: of each output of one row, by name."""
        rows = (shard.lanes, shard.rows)
        self._kind, self._rows = kind, shard.rows
        self._version, self._step = np.full(rows, -1, np.int64), np.full(rows, -1, np.int64)
        self._outputs = {name: np.zeros((*rows, *shape), np.float32) for name, shape in shapes.items()}

    @property
    def nbytes(self) -> int:
        return self._version.nbytes + self._step.nbytes + sum(array.nbytes for array in self._outputs.values())

    def has(self, lane: np.ndarray, step: np.ndarray, version: int) -> np.ndarray:
        """[N] bool."""
        slot = step % self._rows
        return (self._version[lane, slot] == version) & (self._step[lane, slot] == step)

    def of(self, name: str, lane: np.ndarray, step: np.ndarray) -> np.ndarray:
        return self._outputs[name][lane, step % self._rows]

    def store(self, lane: np.ndarray, step: np.ndarray, version: int, **outputs: np.ndarray) -> None:
        slot = step % self._rows
        for name, values in outputs.items():
            self._outputs[name][lane, slot] = values
        self._version[lane, slot], self._step[lane, slot] = version, step

    def remembered(self, version: int) -> dict[str, np.ndarray]:
        """All outputs of one network with their positions."""
        lane, slot = np.nonzero(self._version == version)
        outputs = {name: array[lane, slot] for name, array in self._outputs.items()}
        return {f"{self._kind}_lane": lane, f"{self._kind}_step": self._step[lane, slot], **outputs}

    def recall(self, outputs: Mapping[str, np.ndarray], version: int) -> None:
        """Restore what `remembered` returned."""
        lane, step = outputs[f"{self._kind}_lane"], outputs[f"{self._kind}_step"]
        self.store(lane, step, version, **{name: outputs[name] for name in self._outputs})


class MemoTable:
    """One target network's outputs."""

    def __init__(self, shard: Shard, *, num_actions: int):
        self.values = Outputs(shard, "value", network_value=())
        self.searches = Outputs(shard, "search", policy=(num_actions,), root_value=())

    @property
    def nbytes(self) -> int:
        return self.values.nbytes + self.searches.nbytes


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
        stale = self._once(lane, step, ~self._table.values.has(lane, step, agent.version))
        for part in self._parts(stale):
            with _VALUES:
                value = agent.root_from(self._frames.stacks(lane[part], step[part])).value.cpu().numpy()
            self._table.values.store(lane[part], step[part], agent.version, network_value=value)
        return self._table.values.of("network_value", lane, step)

    def policies(self, agent: Agent, lane: np.ndarray, step: np.ndarray) -> np.ndarray:
        """Searched policies, [N, A] float32. lane, step: [N] int64."""
        self._search_stale(agent, lane, step)
        return self._table.searches.of("policy", lane, step)

    def root_values(self, agent: Agent, lane: np.ndarray, step: np.ndarray) -> np.ndarray:
        """Values of searched roots, [N] float32. lane, step: [N] int64."""
        self._search_stale(agent, lane, step)
        return self._table.searches.of("root_value", lane, step)

    def fill_ahead(self, agent: Agent, lane: np.ndarray, step: np.ndarray) -> int:
        """Search distinct positions for the next target network; returns how many were new."""
        if self._ahead is None:
            self._ahead = MemoTable(self._shard, num_actions=self._num_actions)
        (stale,) = np.nonzero(~self._ahead.searches.has(lane, step, agent.version))
        for part in self._parts(stale):
            self._search_part(self._ahead, agent, lane[part], step[part])
        self.ahead_searches += len(stale)
        return len(stale)

    def remembered(self, version: int) -> dict[str, np.ndarray]:
        """The target network's outputs, for a checkpoint; empty without the memo.

        Recomputed outputs would differ by rounding, which depends on the other positions of a batch.
        """
        table = self._table
        return table.values.remembered(version) | table.searches.remembered(version) if self._config.memo else {}

    def recall(self, outputs: Mapping[str, np.ndarray], version: int) -> None:
        """Restore outputs returned by `remembered`."""
        if outputs:
            self._table.values.recall(outputs, version)
            self._table.searches.recall(outputs, version)

    def take_over(self) -> None:
        """The next target network becomes the target."""
        if self._ahead is not None:
            self._table, self._ahead = self._ahead, self._table

    def _search_stale(self, agent: Agent, lane: np.ndarray, step: np.ndarray) -> None:
        stale = self._once(lane, step, ~self._table.searches.has(lane, step, agent.version))
        self.requested_searches += len(lane)
        self.done_searches += len(stale)
        for part in self._parts(stale):
            self._search_part(self._table, agent, lane[part], step[part])

    def _search_part(self, table: MemoTable, agent: Agent, lane: np.ndarray, step: np.ndarray) -> None:
        with _SEARCH:
            root = agent.root_from(self._frames.stacks(lane, step))
            noise = self._noise(lane, step, agent.version, agent.num_actions)
            of_noise = keyed_random.REANALYZE_NOISE
            tie_seed = keyed_random.seed_for(self._seed, of_noise, lane[0], step[0], ~agent.version)
            result = agent.search_from(root, noise=noise, tie_seed=tie_seed)
            table.values.store(lane, step, agent.version, network_value=root.value.cpu().numpy())
            policy, root_value = result.policy.cpu().numpy(), result.value.cpu().numpy()
            table.searches.store(lane, step, agent.version, policy=policy, root_value=root_value)

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
