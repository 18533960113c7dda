"""What a search consists of, each part alone: the tree's kernels, the network's steps, the gather of the parents.

A real search is run once and noted down: what the network put out, and where the trees had it read. Each part is then
captured with all its simulations as one graph, fed from the notes; so the trees are as deep as they are in a search.

Axes: B roots, A actions, S simulations.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from benchmarks.gpu.timing import Subject
from kernels.capture import Graphed
from kernels.parent_gather import parent_gather
from speedyzero.config import SearchConfig
from speedyzero.model.fused_inference import FusedNodes
from speedyzero.search import RootOutput, Searcher, StepBuffers, StepModel
from speedyzero.search.static_search import StaticSearch


@dataclass
class Notes:
    """A step model that works for a search and notes every step's buffers, copied but for the nodes."""

    model: StepModel
    steps: list[StepBuffers]

    def __call__(self, state, action):
        return self.model(state, action)

    def make_nodes(self, state, *, batch, num_nodes):
        return self.model.make_nodes(state, batch=batch, num_nodes=num_nodes)

    def step_into(self, buffers: StepBuffers) -> None:
        self.model.step_into(buffers)
        tensors = {name: x.clone() for name, x in vars(buffers).items() if isinstance(x, torch.Tensor)}
        self.steps.append(replace(buffers, **tensors))


def stages_of(model: StepModel, root: RootOutput, config: SearchConfig, noise: torch.Tensor) -> dict[str, Subject]:
    """`tree`, `network` and, where it has one of its own, `gather`: every simulation of a search of B roots."""
    notes = Notes(model, [])
    searcher = Searcher(notes, launch="eager", pad=int)
    searcher.search(root, config, noise)
    static, steps = searcher.kept[0], notes.steps
    device = root.value.device
    # 16 bytes apart: Triton compiles anew for another alignment.
    numbers = torch.arange(config.num_simulations, dtype=torch.int32, device=device)[:, None].repeat(1, 4).unbind(0)

    def network() -> None:
        for step in steps:
            model.step_into(step)

    parts: dict[str, Callable[[], None]] = {"tree": lambda: _grow(static, numbers, steps), "network": network}
    nodes = steps[0].nodes
    if isinstance(nodes, FusedNodes):
        fused = nodes

        def gather() -> None:
            for step in steps:
                parent_gather(
                    fused.states, step.parent_row, fused.parent, batch=fused.batch, grid=fused.grid, backend="triton"
                )

        parts["gather"] = gather
    return {name: _inferring(Graphed(part, device=device, warmups=1)) for name, part in parts.items()}


def _grow(static: StaticSearch, numbers: Sequence[torch.Tensor], steps: list[StepBuffers]) -> None:
    """The same trees again, without the network."""
    static.algorithm.plant()
    static.algorithm.select(numbers[0])
    for number, step in zip(numbers[:-1], steps[:-1], strict=True):
        static.expand_then_select(number, step.reward, step.value, step.policy_logits)
    static.expand_backup(numbers[-1], steps[-1].reward, steps[-1].value, steps[-1].policy_logits)
    static.algorithm.result()


def _inferring(part: Callable[[], None]) -> Subject:
    def subject(number: int) -> None:
        with torch.inference_mode():
            part()

    return subject
