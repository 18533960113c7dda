"""The number of processes of each role and the device of each process.

`runtime/wiring.py` turns a placement into edges; no other code depends on its kind.

    colocated   GPU g hosts learner g, reanalyzer g (shard g) and its actors; on the CPU: one of each by default
    split       the last GPUs (one in eight, at least one) host reanalyzers and actors, the others learners
    explicit    `placement.actors`, `.shards`, `.learners`: a GPU for each process

A actors, S shards, L learners: actor a feeds shard a mod S; learner l draws from every shard s with s = l modulo
min(S, L), in equal parts.
"""

from dataclasses import dataclass

from speedyzero.config import Config


@dataclass(frozen=True)
class Feed:
    """A shard and a learner that draws from it."""

    shard: int
    learner: int


@dataclass(frozen=True)
class Placement:
    """The device of every actor, shard (its reanalyzer) and learner: "cpu" or "cuda:N"."""

    actors: tuple[str, ...]
    shards: tuple[str, ...]
    learners: tuple[str, ...]

    @property
    def feeds(self) -> tuple[Feed, ...]:
        """Every feed, ordered by learner and then by shard."""
        shards, learners = len(self.shards), len(self.learners)
        common = min(shards, learners)
        return tuple(
            Feed(shard, learner)
            for learner in range(learners)
            for shard in range(shards)
            if shard % common == learner % common
        )

    def part_of(self, batch_size: int) -> int:
        """Samples that one feed carries in a train step."""
        return batch_size // len(self.feeds)

    def actors_of(self, shard: int) -> tuple[int, ...]:
        """The actors that feed a shard."""
        return tuple(range(shard, len(self.actors), len(self.shards)))


def place(config: Config) -> Placement:
    """The placement given by the settings.

    Raises ValueError, with the settings' names and values, for counts that do not divide and GPUs that do not exist.
    """
    without_data = tuple(range(config.gpus - _data_gpu_count(config)))
    learners = _devices(config, "learner.ranks", config.learner.ranks, config.placement.learners, without_data)
    shards = _devices(config, "replay.shards", config.replay.shards, config.placement.shards, _data_gpus(config))
    asked = config.actor.actors or max(len(shards), len(config.placement.actors))
    actors = _devices(config, "actor.actors", asked, config.placement.actors, _data_gpus(config))
    placement = Placement(actors=actors, shards=shards, learners=learners)
    _check(config, placement)
    return placement


def _data_gpus(config: Config) -> tuple[int, ...]:
    """The default GPUs of reanalyzers and actors."""
    return tuple(range(config.gpus))[-(_data_gpu_count(config) or config.gpus) :]


def _data_gpu_count(config: Config) -> int:
    """GPUs without a learner."""
    if config.placement.kind != "split":
        return 0
    if config.gpus < 2:
        raise ValueError(f"placement.kind=split needs 2 GPUs or more, but gpus={config.gpus}; use colocated")
    return max(1, config.gpus // 8)


def _devices(
    config: Config, setting: str, count: int, named: tuple[int, ...], usual: tuple[int, ...]
) -> tuple[str, ...]:
    """The device of each process of one role."""
    if count and named and count != len(named):
        raise ValueError(f"{setting}={count}, but placement names {len(named)} GPUs for it: {list(named)}")
    if config.gpus == 0:
        if named:
            raise ValueError(f"placement names the GPUs {list(named)}, but gpus=0")
        return ("cpu",) * (count or 1)
    beyond = [gpu for gpu in named if not 0 <= gpu < config.gpus]
    if beyond:
        raise ValueError(
            f"placement names GPU {beyond[0]}, but gpus={config.gpus}: 0 to {config.gpus - 1} can be named"
        )
    return tuple(f"cuda:{gpu}" for gpu in named or [usual[i % len(usual)] for i in range(count or len(usual))])


def _check(config: Config, placement: Placement) -> None:
    actors, shards, learners = len(placement.actors), len(placement.shards), len(placement.learners)
    if actors % shards:
        raise ValueError(f"actor.actors={actors} is not a multiple of replay.shards={shards}: unequal shards")
    if max(shards, learners) % min(shards, learners):
        raise ValueError(f"replay.shards={shards} and learner.ranks={learners}: neither divides the other")
    parts = len(placement.feeds)
    if config.learner.batch_size % parts:
        raise ValueError(
            f"learner.batch_size={config.learner.batch_size} does not divide into {parts} equal parts, "
            f"for replay.shards={shards} and learner.ranks={learners}"
        )
    every, part = config.learner.consistency_every, placement.part_of(config.learner.batch_size)
    if shards > learners and part % every:
        raise ValueError(
            f"learner.consistency_every={every} does not divide the {part} samples that a shard gives to a batch, for "
            f"replay.shards={shards}"
        )
    shared = [device for device in placement.learners if device != "cpu" and placement.learners.count(device) > 1]
    if shared:
        raise ValueError(f"learner.ranks={learners}: several on {shared[0]}, but NCCL takes one rank a GPU")
    lanes = actors * config.actor.envs
    lookahead = config.target.unroll_steps + config.target.td_steps + config.env.stack + 1
    head_start = config.schedule.head_start_env_steps
    if head_start < lanes * lookahead:
        raise ValueError(
            f"schedule.head_start_env_steps={head_start} < {lanes * lookahead} = {actors} actors * "
            f"actor.envs={config.actor.envs} * (target.unroll_steps + target.td_steps + env.stack + 1): "
            "no position to sample"
        )
    if config.replay.capacity_steps < 2 * lanes * lookahead:
        raise ValueError(
            f"replay.capacity_steps={config.replay.capacity_steps} < {2 * lanes * lookahead}, "
            "twice the rows that one sampled position in each lane reaches"
        )
