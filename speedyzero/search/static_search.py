"""Searches of one batch size in static buffers, launched as a whole. See docs/design/search.md.

    fill: root outputs, noise, root states -> static buffers
    launch: begin     plant the trees, select the first leaf                                  once
            simulate  the model's step, expand, back up, select the next leaf                 S - 1 times
            finish    the model's step, expand, back up, the result                           once

The three are captured as CUDA graphs or run eagerly: the same operations in the same order in every mode.

Axes: B roots (padded), A actions, S simulations, N = S + 1 nodes.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from kernels.capture import Graphed
from kernels.expand_backup import bind_expand_backup
from kernels.fused_tree import bind_expand_then_select
from kernels.tree import Tree
from speedyzero.config import SearchConfig
from speedyzero.search.gumbel import GumbelSearch
from speedyzero.search.interface import NodeStates, RootOutput, SearchResult, StepBuffers, StepModel
from speedyzero.search.latents import copy_padded
from speedyzero.search.noise import SearchNoise
from speedyzero.search.puct import PuctSearch

TreeAlgorithm = PuctSearch | GumbelSearch
ALGORITHMS: dict[str, type[PuctSearch] | type[GumbelSearch]] = {"puct": PuctSearch, "gumbel": GumbelSearch}
_INT64_IN_16_BYTES = 2  # kernel arguments are 16 bytes apart: compilation depends on a pointer's alignment


@dataclass(frozen=True)
class _At:
    """The device memory of one simulation."""

    simulation: torch.Tensor  # int32, the number first: the lower half of a little-endian int64
    buffers: StepBuffers


class StaticSearch:
    """One batch size, configuration and model. Made and used under inference mode, on one stream."""

    def __init__(
        self,
        model: StepModel,
        root: RootOutput,
        chance: SearchNoise,
        config: SearchConfig,
        *,
        batch: int,
        launch: str,
    ):
        """root, chance: examples, of any batch. batch: B. launch: as in `Searcher`."""
        actions, device = root.policy_logits.shape[1], root.policy_logits.device
        self._model, self._simulations = model, config.num_simulations
        self._root = RootOutput(torch.zeros(batch, actions, device=device), torch.zeros(batch, device=device), {})
        self._chance = SearchNoise(
            root=None if chance.root is None else torch.zeros(batch, actions, device=device),
            tie_seed=None if chance.tie_seed is None else torch.zeros(1, dtype=torch.int64, device=device),
        )
        self._nodes = model.make_nodes(root.state, batch=batch, num_nodes=config.num_simulations + 1)
        self.algorithm = ALGORITHMS[config.algorithm](self._root, config, self._chance, backend="triton")
        tree, discount, has_prefix = self.algorithm.tree, config.discount, config.prefix_horizon > 0
        self.expand_then_select = bind_expand_then_select(
            tree, self.algorithm.rule, discount=discount, has_prefix=has_prefix
        )
        self.expand_backup = bind_expand_backup(tree, discount=discount, has_prefix=has_prefix, backend="triton")
        self.launch = self._launcher(launch)

    def fill(self, root: RootOutput, chance: SearchNoise) -> None:
        """Copy in a search's inputs. Padding roots are all zero, which yields no NaN."""
        copy_padded(self._root.policy_logits, root.policy_logits)
        copy_padded(self._root.value, root.value)
        if chance.root is not None:
            assert self._chance.root is not None
            copy_padded(self._chance.root, chance.root)
        if chance.tie_seed is not None:
            assert isinstance(self._chance.tie_seed, torch.Tensor)
            self._chance.tie_seed.fill_(chance.tie_seed)
        self._nodes.write_root(root.state)

    def _launcher(self, launch: str) -> Callable[[], SearchResult]:
        """Returns the search of the filled-in inputs. Its result is overwritten by the next one."""
        device = self._root.value.device

        def graphed(function: Callable) -> Graphed:
            # One eager call compiles kernels and chooses algorithms; no state is created later.
            return Graphed(function, device=device, warmups=1)

        if launch == "simulation":
            return self._one_by_one(graphed)
        simulations = _numbered(self.algorithm.tree, self._nodes)

        def whole() -> SearchResult:
            self._begin(simulations[0])
            for at in simulations[:-1]:
                self._simulate(at)
            return self._finish(simulations[-1])

        return graphed(whole) if launch == "whole" else whole

    def _one_by_one(self, graphed: Callable[[Callable], Graphed]) -> Callable[[], SearchResult]:
        """One simulation is replayed for all: its number counts up in device memory."""
        counted = _Counted(self.algorithm.tree, self._nodes)

        def first() -> None:
            counted.start()
            self._begin(counted.at)

        def following() -> None:
            counted.take_action()
            self._simulate(counted.at)
            counted.advance()

        def last() -> SearchResult:
            counted.take_action()
            return self._finish(counted.at)

        begin, simulate, finish = graphed(first), graphed(following), graphed(last)

        def launch() -> SearchResult:
            begin()
            for _ in range(self._simulations - 1):
                simulate()
            return finish()

        return launch

    def _begin(self, at: _At) -> None:
        self.algorithm.plant()
        self.algorithm.select(at.simulation)

    def _simulate(self, at: _At) -> None:
        to = at.buffers
        self._model.step_into(to)
        self.expand_then_select(at.simulation, to.reward, to.value, to.policy_logits)

    def _finish(self, at: _At) -> SearchResult:
        to = at.buffers
        self._model.step_into(to)
        self.expand_backup(at.simulation, to.reward, to.value, to.policy_logits)
        return self.algorithm.result()


def _numbered(tree: Tree, nodes: NodeStates) -> list[_At]:
    """Every simulation, with its own number, leaf and row of actions. They share the model's outputs."""
    numbers = torch.arange(tree.num_simulations + 1, device=tree.edges.device)
    rows = numbers[:, None].repeat(1, _INT64_IN_16_BYTES).unbind(0)
    first = _at(tree, nodes, simulation=rows[0], leaf=rows[1], action=tree.action[0])
    others = [
        _At(rows[k].view(torch.int32), replace(first.buffers, leaf=rows[k + 1][:1], action=tree.action[k]))
        for k in range(1, tree.num_simulations)
    ]
    return [first, *others]


class _Counted:
    """The current simulation: its number, leaf and actions change in device memory."""

    def __init__(self, tree: Tree, nodes: NodeStates):
        self._tree = tree
        # The first simulation and its leaf.
        self._start = torch.arange(2, device=tree.edges.device)[:, None].repeat(1, _INT64_IN_16_BYTES)
        self._now = self._start.clone()
        self._action = torch.zeros_like(tree.action[:1])
        self.at = _at(tree, nodes, simulation=self._now[0], leaf=self._now[1], action=self._action[0])

    def start(self) -> None:
        self._now.copy_(self._start)

    def take_action(self) -> None:
        torch.index_select(self._tree.action, 0, self._now[0, :1], out=self._action)

    def advance(self) -> None:
        self._now.add_(1)


def _at(tree: Tree, nodes: NodeStates, *, simulation: torch.Tensor, leaf: torch.Tensor, action: torch.Tensor) -> _At:
    """simulation, leaf: [2] int64, the number first."""
    _, batch, _, actions = tree.edges.shape
    buffers = StepBuffers(
        nodes=nodes,
        parent_row=tree.parent_row,
        action=action,
        reset=tree.reset,
        leaf=leaf[:1],
        reward=tree.edges.new_zeros(batch),
        value=tree.edges.new_zeros(batch),
        policy_logits=tree.edges.new_zeros(batch, actions),
    )
    return _At(simulation.view(torch.int32), buffers)
