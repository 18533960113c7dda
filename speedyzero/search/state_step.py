"""Makes a step model of any recurrent function. Used by the agent for networks without fused kernels."""

import torch

from speedyzero.search.checks import check_step
from speedyzero.search.interface import RecurrentFn, State, StepBuffers, StepOutput
from speedyzero.search.latents import LatentStore


class StateStep:
    """Gathers the parents' states, calls the function and stores the leaves' states.

    The function must be capturable, as in `StepModel`: it reads only its arguments and memory at fixed addresses, such
    as a network's weights, and never synchronises with the host.
    """

    def __init__(self, recurrent_fn: RecurrentFn):
        self._recurrent_fn = recurrent_fn

    def __call__(self, state: State, action: torch.Tensor) -> StepOutput:
        return self._recurrent_fn(state, action)

    def make_nodes(self, state: State, *, batch: int, num_nodes: int) -> LatentStore:
        return LatentStore(state, num_nodes=num_nodes, batch=batch)

    def step_into(self, buffers: StepBuffers) -> None:
        """See `StepModel`. Raises ValueError if the function's output does not fit."""
        nodes = buffers.nodes
        assert isinstance(nodes, LatentStore)
        step = self._recurrent_fn(nodes.gather(buffers.parent_row), buffers.action)
        batch, actions = buffers.policy_logits.shape
        check_step(step, batch=batch, actions=actions)
        buffers.reward.copy_(step.reward)
        buffers.value.copy_(step.value)
        buffers.policy_logits.copy_(step.policy_logits)
        nodes.write_at(buffers.leaf, step.state, reset=buffers.reset)
