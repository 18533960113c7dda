"""The search again, slowly and by itself: one root, objects that point at one another, recursion, no shared code.

Written from the formulas of MuZero's and Gumbel MuZero's papers and the rules of the value prefix. Arithmetic is
float32, as in the search, so that visit counts can be compared exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from speedyzero.config import SearchConfig
from tests.search.models import TableModel, next_state, value_prefix

F = np.float32


@dataclass
class Node:
    number: int  # the model's state
    prefix_sum: np.float32  # the model's recurrent prefix state; zeroed at a reset
    prefix: np.float32  # the value prefix that the model gave, or the plain reward
    value: np.float32  # the network's
    logits: np.ndarray
    prior: np.ndarray
    is_reset: bool = False
    visits: int = 0
    value_sum: np.float32 = F(0)
    children: dict[int, Node] = field(default_factory=dict)

    def count(self, action: int) -> int:
        return self.children[action].visits if action in self.children else 0

    @property
    def child_visits(self) -> int:
        return sum(child.visits for child in self.children.values())


@dataclass(frozen=True)
class OracleResult:
    visits: list[int]
    value: float
    q_values: list[float]
    policy: np.ndarray
    action: int
    depth: int  # of the deepest node
    root: Node


class Oracle:
    """A search of one root. pick_tie(depth, count) chooses among tied actions for first_pick "uniform"."""

    def __init__(self, model: TableModel, config: SearchConfig, noise: np.ndarray | None):
        self.model, self.config, self.noise = model, config, noise
        self.low, self.high = F(math.inf), F(-math.inf)
        self.deepest = 0

    def run(self, number: int, pick_tie: Callable[[int, int, int], int] | None = None) -> OracleResult:
        config = self.config
        root = self._node(number, F(0), F(0))
        if config.algorithm == "puct" and self.noise is not None:
            fraction = F(config.root_noise_fraction)
            root.prior = (F(1) - fraction) * root.prior + fraction * self.noise
        total = root.value
        for simulation in range(config.num_simulations):
            self.pick_tie = (lambda depth, count, s=simulation: pick_tie(s, depth, count)) if pick_tie else None
            total = total + self._simulate(root, depth=0, mean_q=F(0))
            if config.min_max == "depth_first":
                self.low, self.high, self.before = F(math.inf), F(-math.inf), root
                self._walk(root)
        visits = [root.count(a) for a in range(self.model.num_actions)]
        return OracleResult(
            visits=visits,
            value=float(total / F(config.num_simulations + 1)),
            q_values=[float(self._q(root, a)) if root.count(a) else 0.0 for a in range(self.model.num_actions)],
            policy=self._policy(root, visits),
            action=self._action(root, visits),
            depth=self.deepest,
            root=root,
        )

    def _node(self, number: int, prefix_sum, prefix) -> Node:
        logits = self.model.logits[number]
        return Node(number, prefix_sum, prefix, self.model.value[number], logits, _softmax(logits))

    def _simulate(self, node: Node, *, depth: int, mean_q):
        """One simulation from `node` down; returns the return seen from it and updates everything on the way back."""
        if self.config.algorithm == "puct":
            action, mean_q = self._puct_action(node, depth, mean_q)
        else:
            action = self._gumbel_root_action(node) if depth == 0 else self._gumbel_inner_action(node)
        if action in node.children:
            child = node.children[action]
            value = self._simulate(child, depth=depth + 1, mean_q=mean_q)
        else:
            child = self._expand(node, action, depth + 1)
            value = child.value
        child.visits += 1
        child.value_sum = child.value_sum + value
        q = self._q(node, action)
        self.low, self.high = min(self.low, q), max(self.high, q)
        return self._reward(node, child) + F(self.config.discount) * value

    def _expand(self, parent: Node, action: int, depth: int) -> Node:
        self.deepest = max(self.deepest, depth)
        number = next_state(parent.number, action)
        reward = self.model.reward[number]
        prefix_sum = parent.prefix_sum + reward
        child = self._node(number, prefix_sum, value_prefix(prefix_sum) if self.model.has_prefix else reward)
        horizon = self.config.prefix_horizon
        if horizon and depth % horizon == 0:
            child.is_reset, child.prefix_sum = True, F(0)
        parent.children[action] = child
        return child

    def _reward(self, parent: Node, child: Node):
        if self.config.prefix_horizon == 0 or parent.is_reset:
            return child.prefix
        return child.prefix - parent.prefix

    def _q(self, node: Node, action: int):
        child = node.children[action]
        return self._reward(node, child) + F(self.config.discount) * (child.value_sum / F(child.visits))

    def _walk(self, node: Node) -> None:
        """The extremes as EfficientZero's code finds them: as if every node were a child of the one visited before."""
        self.before = node
        for action in sorted(node.children, reverse=True):
            child = node.children[action]
            q = self._reward(self.before, child) + F(self.config.discount) * (child.value_sum / F(child.visits))
            self.low, self.high = min(self.low, q), max(self.high, q)
            self._walk(child)

    def _puct_action(self, node: Node, depth: int, parent_mean_q):
        config = self.config
        total = node.child_visits
        known = [self._q(node, a) for a in sorted(node.children)]
        q_sum = sum(known, F(0))
        mean_q = (q_sum / F(max(len(known), 1))) if depth == 0 else (parent_mean_q + q_sum) / F(len(known) + 1)
        growth = math.log((total + config.pb_c_base + 1) / config.pb_c_base) + config.pb_c_init
        spread = F(growth * math.sqrt(total + 1 if config.first_pick == "prior" else total))
        scores = []
        for a in range(self.model.num_actions):
            explore = node.prior[a] * spread / F(node.count(a) + 1)
            exploit = self._q(node, a) if a in node.children else mean_q
            if self.high > self.low:
                exploit = (exploit - self.low) / max(self.high - self.low, F(config.value_delta_max))
            scores.append(explore + min(max(exploit, F(0)), F(1)))
        best = max(scores)
        if config.first_pick == "prior":
            return scores.index(best), mean_q
        tied = [a for a, score in enumerate(scores) if score >= best - F(1e-6)]
        return tied[self.pick_tie(depth + 1, len(tied))], mean_q

    def _sigma(self, node: Node) -> np.ndarray:
        config, actions = self.config, range(self.model.num_actions)
        total = node.child_visits
        weighted = F(0)
        if total:
            mass = sum((node.prior[a] for a in sorted(node.children)), F(0))
            weighted = sum((node.prior[a] * self._q(node, a) for a in sorted(node.children)), F(0)) / mass
        mixed = (node.value + F(total) * weighted) / F(1 + total)
        completed = np.array([self._q(node, a) if a in node.children else mixed for a in actions], F)
        rescaled = (completed - completed.min()) / max(completed.max() - completed.min(), F(config.min_q_range))
        return F(F(config.c_visit) + F(max(node.count(a) for a in actions))) * F(config.c_scale) * rescaled

    def _gumbel_scores(self, root: Node) -> np.ndarray:
        gumbel = F(0) if self.noise is None else F(self.config.gumbel_scale) * self.noise
        return gumbel + (root.logits - root.logits.max()) + self._sigma(root)

    def _gumbel_root_action(self, root: Node) -> int:
        """Sequential halving by its own rule: the action next in turn, instead of a table of visit counts."""
        num_considered = min(self.config.max_considered_actions, self.model.num_actions)
        target = _halving_target(num_considered, self.config.num_simulations, root.child_visits)
        scores = self._gumbel_scores(root)
        candidates = [a for a in range(self.model.num_actions) if root.count(a) == target]
        return max(candidates, key=lambda a: (scores[a], -a))

    def _gumbel_inner_action(self, node: Node) -> int:
        improved = _softmax(node.logits + self._sigma(node))
        total = F(1 + node.child_visits)
        scores = [improved[a] - F(node.count(a)) / total for a in range(self.model.num_actions)]
        return scores.index(max(scores))

    def _policy(self, root: Node, visits: list[int]) -> np.ndarray:
        if self.config.algorithm == "puct":
            return np.array(visits, F) / F(self.config.num_simulations)
        return _softmax(root.logits + self._sigma(root))

    def _action(self, root: Node, visits: list[int]) -> int:
        if self.config.algorithm == "puct":
            return visits.index(max(visits))
        scores = self._gumbel_scores(root)
        return max((a for a, n in enumerate(visits) if n == max(visits)), key=lambda a: (scores[a], -a))


def _softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


def _halving_target(num_considered: int, num_simulations: int, simulation: int) -> int:
    """Visits that the action of this simulation has had before: count simulations off, phase by phase."""
    if num_considered == 1:
        return simulation
    phases = (num_considered - 1).bit_length()
    before, candidates, left = 0, num_considered, simulation
    while True:
        rounds = max(1, num_simulations // (phases * candidates))
        if left < rounds * candidates:
            return before + left // candidates
        left -= rounds * candidates
        before += rounds
        candidates = max(2, candidates // 2)
