"""A run that continues in another layout: what is kept, what is told, and that the old run stays as it is."""

from pathlib import Path

import numpy as np
import pytest
import torch

from speedyzero import cli
from speedyzero.checkpoint.stored import newest_valid
from speedyzero.config.documents import read_config_document
from speedyzero.config.placement import place
from speedyzero.env.registry import check_game
from speedyzero.learner.state import LearnerState
from speedyzero.reanalyze.restored import env_steps_of, restore_shard
from speedyzero.replay.shard import Shard, shard_shape
from speedyzero.supervisor.inline import build_run
from speedyzero.topology.pacing import Pacing
from tests.faults.inline_runs import advance
from tests.faults.small_run import NEWER, contents, copy_of


def resharded(old: Path, new: Path, words: list[str], taken: list, *, inline: bool = True):
    """What `train` would continue with."""
    flags = ["--inline"] if inline else []
    command = [*flags, "--resume", str(old), "--reshard", "--run-dir", str(new), *words]
    assert cli.run(cli.check_train, command, prog="train.py") == cli.DONE
    return taken.pop()


def restored(checkpoint) -> list[Shard]:
    config = read_config_document(checkpoint.document("meta")["config"], "test")
    game = check_game(config.env)
    shards = [Shard(shard_shape(config, game.spec, game.num_actions)) for _ in place(config).shards]
    for index, shard in enumerate(shards):
        restore_shard(shard, checkpoint, index=index)
    return shards


@pytest.mark.parametrize("envs", [3, 5])
def test_a_run_goes_on_with_other_environments(made, tmp_path, taken, capsys, envs):
    old, new = copy_of(made, tmp_path / "old"), tmp_path / "new"
    before = contents(old)
    config, resume = resharded(old, new, [f"actor.envs={envs}"], taken)
    told = capsys.readouterr().out
    assert f"actor.envs={envs} (the run has 8)" in told and str(new) in told and "positions kept" in told
    assert contents(old) == before

    source, checkpoint = newest_valid(old), newest_valid(new)
    assert (resume.run_dir, checkpoint.step, Path(config.run_dir)) == (new, NEWER, new)
    assert sum(env_steps_of(checkpoint, 0)) == sum(env_steps_of(source, 0))
    one, other = LearnerState.of(source), LearnerState.of(checkpoint)
    assert one.train_step == other.train_step and str(one.optimizer) == str(other.optimizer)
    assert all(torch.equal(one.weights[name], other.weights[name]) for name in one.weights)
    (was,), (shard,) = restored(source), restored(checkpoint)
    priorities = [np.sort(x.priority[np.arange(x.rows) < x.head[:, None]]) for x in (was, shard)]
    assert len(priorities[1]) == int(shard.head[0]) * envs
    assert np.isin(priorities[1], priorities[0]).all()

    run = build_run(config, run_dir=new, checkpoint=resume.checkpoint)
    losses = advance(run, to_step=NEWER + 12)
    assert len(losses) == 12 and np.isfinite(losses).all()
    assert run.edges.board.env_steps >= Pacing.of(config).env_steps_due(NEWER + 11)
    run.close()


def test_shards_and_learners_share_out_the_replay(made, tmp_path, taken):
    words = "actor.actors=4 replay.shards=2 learner.ranks=2 actor.envs=2".split()
    _, resume = resharded(made, tmp_path / "new", words, taken, inline=False)
    source, checkpoint = newest_valid(made), resume.checkpoint
    parts = [env_steps_of(checkpoint, index) for index in (0, 1)]
    assert [len(part) for part in parts] == [2, 2]
    flat = [steps for part in parts for steps in part]
    assert sum(flat) == sum(env_steps_of(source, 0)) and max(flat) - min(flat) <= 1
    shards, (was,) = restored(checkpoint), restored(source)
    assert all(shard.lanes == 4 and (shard.head == shards[0].head[0]).all() for shard in shards)
    assert sum(int(shard.head.sum()) for shard in shards) > int(was.head.sum()) - 8
    assert not np.array_equal(shards[0].frame, shards[1].frame)


def test_a_resharded_run_is_resumed_and_resharded_again(made, tmp_path, taken):
    resharded(made, tmp_path / "wide", ["actor.envs=5"], taken)
    _, resume = resharded(tmp_path / "wide", tmp_path / "narrow", ["actor.envs=8"], taken)
    assert resume.step == NEWER
    assert sum(env_steps_of(resume.checkpoint, 0)) == sum(env_steps_of(newest_valid(made), 0))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--resume", "{old}", "--reshard"], "the layout is the run's own already"),
        (["--resume", "{old}", "actor.envs=4"], "add --reshard"),
        (["--resume", "{old}", "--reshard", "actor.envs=4", "model.mlp_hidden=32"], "that would be another run"),
        (["--resume", "{old}", "--reshard", "--run-dir", "{old}", "actor.envs=4"], "is not empty"),
        (["--resume", "{old}", "--reshard", "actor.envs=300"], "head_start_env_steps"),
        (["--game", "Catch", "--reshard"], "only --resume has something to reshard"),
    ],
)
def test_what_cannot_be_resharded_is_one_line(made, tmp_path, refused, words, expected):
    old = copy_of(made, tmp_path / "old")
    before = contents(tmp_path)
    words = ["--inline", *(word.format(old=old) for word in words)]
    assert expected in refused(cli.check_train, words, prog="train.py")
    assert contents(tmp_path) == before
