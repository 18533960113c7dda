"""A run that was left and resumed is the run that was never left, to the bit."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from speedyzero.arguments.resolve import resolve
from speedyzero.checkpoint.manifest import checkpoint_dir
from speedyzero.checkpoint.store import CheckpointStore
from speedyzero.checkpoint.stored import open_checkpoint
from speedyzero.config import Config
from speedyzero.supervisor.inline import InlineRun, build_run, snapshot_of
from tests.faults.inline_runs import advance, differences, everything
from tests.faults.ring_contract import reached

# Lanes of 40 rows wrap; targets switch every 20 steps; games of 9 steps end and begin at different times.
CATCH = (
    "schedule.env_steps=1400 schedule.train_steps=200 schedule.head_start_env_steps=260 replay.capacity_steps=640 "
    "target.interval_samples=640 learner.publish_interval_samples=320 learner.batch_size=32 search.num_simulations=4 "
    "actor.envs=16 refresh.slice=16 "
    "schedule.pacing_slack_env_steps=30 refresh.per_sample=0.4"
).split()
PONG = (
    "actor.envs=3 schedule.env_steps=420 schedule.train_steps=90 schedule.head_start_env_steps=60 learner.batch_size=6 "
    "search.num_simulations=3 replay.capacity_steps=210 target.interval_samples=48 "
    "learner.publish_interval_samples=150 target.td_steps=3 "
    "env.train_limit_frames=260 refresh.enabled=true refresh.slice=16 reanalyze.policy_share=1 checkpoint.keep_last=1"
).split()


FURTHER = 25  # train steps that are compared after each resume


@dataclass(frozen=True)
class Straight:
    """A run that was never left: its directory as it was at some steps, and all that it had at those and later."""

    config: Config
    dirs: Mapping[int, Path]
    states: Mapping[int, dict[str, bytes]]
    losses: Mapping[int, list[float]]  # told since the step before


def run_straight(config: Config, folder: Path, leave_at: tuple[int, ...]) -> Straight:
    run_dir, dirs, states, losses = folder / "run", {}, {}, {}
    run = build_run(config, run_dir=run_dir)
    for step in sorted({*leave_at, *(step + FURTHER for step in leave_at)}):
        losses[step] = advance(run, to_step=step)
        states[step] = everything(run)
        if step in leave_at:
            with CheckpointStore(run_dir) as store:
                store.write(snapshot_of(run))
            dirs[step] = folder / f"left at {step}"
            shutil.copytree(run_dir, dirs[step])
    run.close()
    sweeps = [states[step]["replay_0.safetensors/sweep_lane"] for step in leave_at]
    assert len(set(sweeps)) > 1, "no sweep was left in its middle"
    return Straight(config, dirs, states, losses)


CATCH_LEFT, PONG_LEFT = (3, 45, 130), (3, 29, 64)  # the learner has begun, a target has switched, lanes have wrapped


@pytest.fixture(scope="module")
def catch(tmp_path_factory) -> Straight:
    return run_straight(resolve("catch", "Catch", 3, 0, None, CATCH), tmp_path_factory.mktemp("catch"), CATCH_LEFT)


@pytest.fixture(scope="module")
def pong(tmp_path_factory) -> Straight:
    return run_straight(resolve("laptop", "Pong", 3, 0, None, PONG), tmp_path_factory.mktemp("pong"), PONG_LEFT)


def resumed(straight: Straight, step: int) -> InlineRun:
    checkpoint = open_checkpoint(checkpoint_dir(straight.dirs[step], step))
    return build_run(straight.config, run_dir=straight.dirs[step], checkpoint=checkpoint)


def assert_goes_on(straight: Straight, step: int, *, wrapped: bool) -> None:
    run = resumed(straight, step)
    shard = run.reanalyzer.shard
    assert (shard.head > shard.rows).all() == wrapped
    if step % straight.config.target_interval:  # else the next target has taken over already
        assert differences(everything(run), straight.states[step]) == []
    losses = advance(run, to_step=step + FURTHER)
    assert losses == straight.losses[step + FURTHER] and len(losses) == FURTHER
    assert differences(everything(run), straight.states[step + FURTHER]) == []
    run.close()
    reached(17, counts={"resumes equal to the bit": 1})


@pytest.mark.contract(17)
@pytest.mark.parametrize("step", CATCH_LEFT)
def test_catch_goes_on_to_the_bit(catch, step):
    assert_goes_on(catch, step, wrapped=step == CATCH_LEFT[-1])


@pytest.mark.contract(17)
@pytest.mark.parametrize("step", PONG_LEFT)
def test_pong_goes_on_to_the_bit(pong, step):
    assert_goes_on(pong, step, wrapped=step == PONG_LEFT[-1])


def test_logging_and_saving_change_nothing(catch):
    run = build_run(catch.config)
    for step, losses in catch.losses.items():
        assert advance(run, to_step=step) == losses
    run.close()
