"""The reanalyzer as a process."""

from __future__ import annotations

from speedyzero.edges import ReanalyzerEdges
from speedyzero.env.registry import check_game
from speedyzero.model.agent import Agent
from speedyzero.pacing import Pacing
from speedyzero.reanalyze.reanalyzer import Reanalyzer
from speedyzero.replay.shard import Shard
from speedyzero.role_process import ProcessSpec, role_process
from speedyzero.shared_edges import RingReceiver, RingSender, SlotSource
from speedyzero.shm import SharedArrays, WeightSlots


def main(spec: ProcessSpec) -> None:
    """Keep the shard and make batches until the run is stopped. A successor takes the shard over as it stands."""
    config, wiring = spec.config, spec.wiring
    with role_process(spec) as process:
        game = check_game(config.env)
        arrays = SharedArrays.attach(wiring.run, wiring.shard, writable=True)
        batches = RingSender(wiring.run, wiring.batches)
        edges = ReanalyzerEdges(
            steps=[RingReceiver(wiring.run, ring) for ring in wiring.steps],
            priorities=RingReceiver(wiring.run, wiring.priorities),
            batches=batches,
            targets=SlotSource(WeightSlots.attach(wiring.run, wiring.targets)),
            metrics=process.metrics,
            board=process.board,
        )
        pacing = Pacing(config.schedule, tick_env_steps=config.actor.envs * config.actor.actors)
        agent = Agent(config, game.spec, game.num_actions, device=spec.device)
        shard = Shard(wiring.shard_shape, {name: arrays[name] for name in wiring.shard_shape.fields()})
        reanalyzer = Reanalyzer(config, edges, pacing, agent, shard, first_draw=batches.published)
        process.loop(reanalyzer)
