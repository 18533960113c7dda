"""The reanalyzer as a process."""

from __future__ import annotations

from speedyzero.config import Config
from speedyzero.edges import ReanalyzerEdges
from speedyzero.env.registry import check_game
from speedyzero.model.agent import Agent
from speedyzero.pacing import Pacing
from speedyzero.reanalyze.reanalyzer import Reanalyzer
from speedyzero.replay.shard import Shard
from speedyzero.role_process import ProcessSpec, role_process
from speedyzero.shared_edges import RingReceiver, RingSender, SlotSource
from speedyzero.shm import SharedArrays, WeightSlots


def main(spec: ProcessSpec, index: int) -> None:
    """Keep shard `index` and make batches until the run is stopped. A successor takes the shard over as it stands."""
    config, wiring = spec.config, spec.wiring
    with role_process(spec) as process:
        game = check_game(config.env)
        arrays = SharedArrays.attach(wiring.run, wiring.shards[index], writable=True)
        feeds = wiring.feeds_of(shard=index)
        batches = [RingSender(wiring.run, wiring.batches[feed]) for feed in feeds]
        edges = ReanalyzerEdges(
            steps=[RingReceiver(wiring.run, ring) for ring in wiring.steps_into(index)],
            priorities=[RingReceiver(wiring.run, wiring.priorities[feed]) for feed in feeds],
            batches=batches,
            targets=SlotSource(WeightSlots.attach(wiring.run, wiring.targets)),
            weights=SlotSource(WeightSlots.attach(wiring.run, wiring.weights)),
            metrics=process.metrics,
            board=process.board,
        )

        def agent() -> Agent:
            return Agent(config, game.spec, game.num_actions, device=spec.device)

        shard = Shard(wiring.shard_shape, {name: arrays[name] for name in wiring.shard_shape.fields()})
        first_draw = sum(sender.published for sender in batches)
        reanalyzer = Reanalyzer(
            config,
            edges,
            Pacing.of(config),
            agent(),
            shard,
            newest=agent() if config.refresh.enabled else None,
            following=agent() if fills_ahead(config, spec.device) else None,
            shard_index=index,
            first_draw=first_draw,
        )
        process.loop(reanalyzer)


def fills_ahead(config: Config, device: str) -> bool:
    """Whether the next target network's searches are made ahead."""
    choice = config.reanalyze.ahead
    return choice == "on" or (choice == "auto" and device != "cpu")
