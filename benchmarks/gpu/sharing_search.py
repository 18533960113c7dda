"""The worker of `sharing.py` that searches, as a reanalyzer does: root inference and search, results on the host."""

from __future__ import annotations

from typing import Any

import torch

from benchmarks.gpu.context import Context
from benchmarks.gpu.networks import atari_config, frame_spec, random_frames, random_weights
from benchmarks.gpu.sharing_protocol import serve
from speedyzero.model.agent import Agent
from speedyzero.model.observation import to_network_input

ACTIONS = 18


def run(context: Context) -> dict[str, Any]:
    batch, simulations = context.size((1024, 50), (4, 4))
    config = atari_config(simulations=simulations, is_tiny=context.is_rehearsal, gpus=0 if context.is_rehearsal else 1)
    agent = Agent(config, frame_spec(config), ACTIONS, device=str(context.device))
    agent.load(random_weights(config, ACTIONS, seed=1), version=0)
    frames = torch.from_numpy(random_frames(config, batch, seed=2)).to(context.device)
    observation = to_network_input(frames).to(agent.input_dtype)

    def search() -> int:
        agent.search_from(agent.root_from(observation)).action.cpu()
        return batch

    for _ in range(5):
        search()
    return serve(context, search)
