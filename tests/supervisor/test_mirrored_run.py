"""A whole run in one process whose learner and reanalyzer read mirrors, of an mlp: the same run, to the bit."""

from speedyzero.arguments.resolve import resolve
from speedyzero.learner import learner
from speedyzero.reanalyze import reanalyzer
from speedyzero.replay.device_mirror import DeviceMirror
from speedyzero.replay.shard import Shard
from speedyzero.supervisor.inline import InlineRun, build_run
from tests.faults.inline_runs import advance

TRAIN_STEPS = 27
SHORT = (  # in 520 rows the lanes go round
    "actor.envs=4 schedule.env_steps=900 schedule.train_steps=25 schedule.head_start_env_steps=300 "
    "schedule.frozen_train_steps=2 replay.capacity_steps=520 learner.batch_size=16 search.num_simulations=4 "
    "target.interval_samples=80 refresh.enabled=true refresh.per_sample=1.0 refresh.slice=8 "
    "learner.publish_interval_samples=48"
).split()


def played() -> tuple[InlineRun, list[float]]:
    """A run carried to its end, and its losses."""
    run = build_run(resolve("catch", "Catch", 3, 0, None, SHORT))
    losses = advance(run, to_step=TRAIN_STEPS)
    run.close()
    return run, losses


def test_a_run_on_mirrors_is_the_run_on_the_host(monkeypatch):
    plain, losses = played()

    def mirrors(config, shards, device, *, dtype, pad_channels_to=1):
        return [DeviceMirror(shard, device, dtype=dtype, pad_channels_to=pad_channels_to) for shard in shards]

    monkeypatch.setattr(learner, "frame_sources", mirrors)
    monkeypatch.setattr(reanalyzer, "frame_sources", mirrors)
    for name in ("gather_stacks", "gather_windows"):
        monkeypatch.delattr(Shard, name)
    mirrored, losses_again = played()
    shard = mirrored.reanalyzer.shard
    assert shard.head.min() > shard.rows + shard.shape.guard
    _, _, judged = mirrored.reanalyzer.sampler.drawn_positions()
    assert mirrored.reanalyzer.refresh is not None
    assert mirrored.reanalyzer.refresh.figures(judged)["reanalyzer/refreshed"] > 100
    assert len(losses) == TRAIN_STEPS and losses_again == losses
    assert (shard.priority == plain.reanalyzer.shard.priority).all()
