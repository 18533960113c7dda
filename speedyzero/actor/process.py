"""The actor as a process."""

from __future__ import annotations

from speedyzero.actor.actor import Actor
from speedyzero.env.registry import make_env
from speedyzero.model.agent import Agent
from speedyzero.runtime.role_process import ProcessSpec, role_process
from speedyzero.runtime.shared_edges import RingSender, SlotSource
from speedyzero.shm import WeightSlots
from speedyzero.topology.edges import ActorEdges
from speedyzero.topology.pacing import Pacing


def main(spec: ProcessSpec, index: int) -> None:
    """Play the lanes of actor `index` until the run is stopped."""
    config, wiring = spec.config, spec.wiring
    with role_process(spec) as process:
        first_lane = index * config.actor.envs
        steps = RingSender(wiring.run, wiring.steps[index])
        # A replacement continues at the tick after its predecessor's, so no random number is drawn twice.
        first_tick = steps.published + (spec.resume.ticks[index] if spec.resume else 0)
        env = make_env(config.env, lanes=config.actor.envs, seed=config.seed, first_lane=first_lane)
        edges = ActorEdges(
            steps=steps,
            weights=SlotSource(WeightSlots.attach(wiring.run, wiring.weights)),
            metrics=process.metrics,
            board=process.board,
        )
        pacing = Pacing.of(config)
        agent = Agent(config, env.spec, env.num_actions, device=spec.device)
        actor = Actor(config, edges, pacing, agent, env, first_lane=first_lane, first_tick=first_tick)
        try:
            process.loop(actor)
        finally:
            env.close()
