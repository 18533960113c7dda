"""The actor as a process."""

from speedyzero.actor.actor import Actor
from speedyzero.config import Config
from speedyzero.env.base import LaneEnv
from speedyzero.env.registry import make_env
from speedyzero.model.agent import Agent
from speedyzero.runtime.role_process import ProcessSpec, role_process
from speedyzero.topology.edges import ActorEdges
from speedyzero.topology.pacing import Pacing


def main(spec: ProcessSpec, index: int) -> None:
    """Play the lanes of actor `index` until the run is stopped."""
    config, actors = spec.config, len(spec.wiring.placement.actors)
    with role_process(spec) as process:
        edges = process.ends(ActorEdges)
        number = spec.launch.share.number(index, of=actors)
        env = make_env(config.env, lanes=config.actor.envs, seed=config.seed, first_lane=number * config.actor.envs)
        resumed_ticks = spec.resume.ticks[index] if spec.resume else 0
        try:
            process.loop(
                build_actor(config, edges, env, device=spec.device, number=number, resumed_ticks=resumed_ticks)
            )
        finally:
            env.close()


def build_actor(
    config: Config, edges: ActorEdges, env: LaneEnv, *, device: str, number: int = 0, resumed_ticks: int = 0
) -> Actor:
    """Actor `number` of all nodes, as a process or inline. resumed_ticks: played before the run was resumed."""
    agent, first_lane = Agent(config, env.spec, env.num_actions, device=device), number * config.actor.envs
    # A replacement continues at the tick after its predecessor's, so no random number is drawn twice.
    first_tick = resumed_ticks + edges.steps.published
    return Actor(config, edges, Pacing.of(config), agent, env, first_lane=first_lane, first_tick=first_tick)
