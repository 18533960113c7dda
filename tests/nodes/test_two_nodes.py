"""Two nodes on this machine: they train as one, save and resume as one, and end if one dies, which is named.

A run's life, in the order of the tests: begun by one node, resharded to two, struck down until it does not start again,
resumed, interrupted on one node, resumed until its end, resharded to one and to two.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from speedyzero import cli
from speedyzero.checkpoint.scores import read_scores
from speedyzero.checkpoint.stored import Checkpoint, newest_valid
from speedyzero.checkpoint.weights_file import load_weights, newest
from speedyzero.config.documents import load_config, read_config_document
from speedyzero.config.settings import Given
from speedyzero.env.registry import check_game
from speedyzero.nodes.launch import Launch
from speedyzero.nodes.share import Share
from speedyzero.observe.metrics import read_metrics
from speedyzero.reanalyze.restored import restore_shard
from speedyzero.replay.shard import Shard, shard_shape
from speedyzero.supervisor import arguments
from speedyzero.supervisor.reshard import carry_out, check_reshard
from speedyzero.supervisor.resume import resumed_config
from tests.nodes.test_meeting import at_once
from tests.nodes.two_agents import HEAD_START, LONG, NEW, PER_STEP, TwoNodes, ends_at, free_port

ALL_END_S = 10.0
BEGUN, STEPS = 10, 40  # train steps by one node at first; by two nodes at last
FORCED = ("--force", "schedule.train_steps", "--force", "schedule.env_steps", "evaluate.episodes=4")
ONLY_SOAK = pytest.mark.skipif(os.environ.get("SOAK") != "1", reason="SOAK=1")


def train_inline(*words: str) -> None:
    assert cli.run(cli.check_train, ["--inline", *words], prog="train.py") == cli.DONE


def shards_of(run_dir: Path) -> list[Shard]:
    """Those of two nodes, from the last checkpoint."""
    checkpoint = newest_valid(run_dir)
    own = Share(0, 2).of(read_config_document(checkpoint.document("meta")["config"], "test"))
    game = check_game(own.env)
    shards = [Shard(shard_shape(own, game.spec, game.num_actions)) for _ in range(2)]
    for index, shard in enumerate(shards):
        restore_shard(shard, checkpoint, index=index)
    return shards


def env_steps_of(checkpoint: Checkpoint, *, shards: int) -> int:
    return sum(sum(checkpoint.document(f"replay_{shard}")["env_steps"]) for shard in range(shards))


def assert_nothing_left(nodes: TwoNodes) -> None:
    for node in range(2):
        assert list(nodes.shm_dir(node).iterdir()) == []


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("begun") / "run"
    train_inline("--run-dir", str(run_dir), *NEW, *ends_at(BEGUN), "evaluate.episodes=4")
    return run_dir


def test_another_number_of_nodes_is_refused(begun, monkeypatch):
    """In the same line on every node."""
    monkeypatch.setattr(arguments, "_fork_server", lambda: None)
    flags = arguments._parser("train.py").parse_args(["--run-dir", str(begun), "--resume"])
    port = free_port()
    launches = [Launch(Share(node, 2), "127.0.0.1", port) for node in range(2)]
    lines = at_once(*(lambda launch=launch: arguments._check_node(launch, flags, None) for launch in launches))
    assert lines[0] == lines[1] and "\n" not in lines[0]
    assert all(f"node {node} (" in lines[0] for node in range(2)) and "a run on 1 node, started on 2" in lines[0]
    assert not (begun / "nodes").exists()


@pytest.fixture(scope="module")
def struck(begun, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoNodes]:
    """That run on two nodes, with restarts left. An actor has been killed, too, and replaced by its node."""
    folder = tmp_path_factory.mktemp("struck")
    words = ("--resume", str(begun), "--reshard", *LONG)
    with TwoNodes(folder, folder / "run", *words, max_restarts=3) as nodes:
        nodes.wait_for_checkpoint(after=BEGUN)
        os.kill(nodes.known[1]["actor-0"], signal.SIGKILL)
        nodes.wait_for(lambda: "node 1: actor-0 died and is replaced" in nodes.output(1), "the replacement")
        yield nodes


@pytest.mark.parametrize(
    ("node", "process", "line"),
    [
        (1, "learner-0", r"node 1 \(.*\): learner-0 died by signal SIGKILL"),
        pytest.param(1, "supervisor", r"node 1 \(.*\): not heard of for \d s", marks=ONLY_SOAK),
        (0, "supervisor", r"node 0 \(.*\): its supervisor, which serves the store, is gone"),
        (1, "agent", r"node 1 \(.*\): its torchrun agent has died"),
    ],
)
def test_what_dies_ends_all_and_all_go_on_from_the_last_checkpoint(struck, node, process, line):
    """But for an agent's death, after which torchrun waits for another node."""
    nodes, step, rounds = struck, struck.saved_step, len(struck.resumed_at)
    os.kill(nodes.known[node][process], signal.SIGKILL)
    assert nodes.wait_until_all_roles_end() < ALL_END_S, nodes.output(0) + nodes.output(1)
    if process == "agent":
        assert_nothing_left(nodes)
        nodes.end()
    else:
        nodes.wait_for(lambda: len(nodes.resumed_at) > rounds, "the restart")
        assert nodes.resumed_at[-1] >= step
        nodes.wait_for_checkpoint(after=nodes.resumed_at[-1])
    assert re.search(line, nodes.output(1 - node)), nodes.output(1 - node)
    assert re.search(r"the last checkpoint is of train step \d+", nodes.output(1 - node))


@pytest.fixture(scope="module")
def interrupted(struck, tmp_path_factory: pytest.TempPathFactory) -> tuple[TwoNodes, int]:
    """That run resumed on two nodes, until Ctrl-C on one of them; the step at which it was resumed."""
    step, before = struck.saved_step, shards_of(struck.run_dir)
    with TwoNodes(tmp_path_factory.mktemp("interrupted"), struck.run_dir, "--resume", max_restarts=2) as nodes:
        nodes.wait_for_checkpoint(after=step)
        os.kill(nodes.known[1]["agent"], signal.SIGINT)
        assert nodes.wait_until_all_roles_end() < ALL_END_S
        assert 0 not in nodes.wait()
    after = shards_of(nodes.run_dir)
    for old, new in zip(before, after, strict=True):
        rows = int(old.head.min()) - 2  # a resume cuts the last games off
        assert rows > 10 and (new.head > old.head).all()
        np.testing.assert_array_equal(new.frame[:, :rows], old.frame[:, :rows], "each node has restored its own")
    first, second = (old.frame[:, :10] for old in before)
    assert not np.array_equal(first, second), "nor has one restored the other's at its start"
    return nodes, step


def test_ctrl_c_on_one_node_saves_the_run_whole(interrupted, capsys):
    nodes, step = interrupted
    assert nodes.resumed_at == [step]
    for node in range(2):
        assert nodes.output(node).count("interrupted: saving and ending") == 1, nodes.output(node)
    assert "was not saved" not in nodes.output(0) + nodes.output(1)
    assert_nothing_left(nodes)
    checkpoint = newest_valid(nodes.run_dir)
    assert checkpoint.step == load_weights(newest(nodes.run_dir)).meta["step"], "the last train step's"
    meta = checkpoint.document("meta")
    assert meta["nodes"] == 2 and meta["config"]["learner.batch_size"] == 32
    assert env_steps_of(checkpoint, shards=2) > HEAD_START + PER_STEP * checkpoint.step / 2
    assert cli.run(cli.check_train, ["--inline", "--resume", str(nodes.run_dir)], prog="train.py") == cli.BAD_INPUT
    assert "a run on 2 nodes, started on 1: start it on as many, or add --reshard" in capsys.readouterr().err


@pytest.fixture(scope="module")
def finished(interrupted, tmp_path_factory: pytest.TempPathFactory) -> tuple[TwoNodes, int]:
    """That run resumed until its end; its last train step."""
    run_dir = interrupted[0].run_dir
    end = newest_valid(run_dir).step + STEPS
    with TwoNodes(tmp_path_factory.mktemp("finished"), run_dir, "--resume", *FORCED, *ends_at(end)) as nodes:
        assert nodes.wait() == [0, 0], nodes.output(0) + nodes.output(1)
    return nodes, end


def test_two_nodes_train_and_score_as_one(finished):
    nodes, end = finished
    assert read_scores(nodes.run_dir)["last"]["step"] == newest_valid(nodes.run_dir).step == end
    whole = load_config(nodes.run_dir / "config.yaml")
    assert whole.learner.batch_size == 32 and whole.schedule.train_steps == end
    env_steps = HEAD_START + PER_STEP * end
    progress = re.findall(rf"env steps (\d+)/{env_steps} .* train steps {end}/{end}", nodes.output(0))
    assert progress and int(progress[-1]) > env_steps - 100, "of both nodes"
    assert "train steps" not in nodes.output(1), "one shows the progress of all"
    assert_nothing_left(nodes)


def test_every_record_of_both_nodes_is_accounted_for(finished):
    nodes, end = finished
    losses = []
    for node in range(2):
        metrics = read_metrics(Share(node, 2).own_dir(nodes.run_dir))
        unaccounted = {name: one.values[-1] for name, one in metrics.items() if name.endswith("/unaccounted")}
        assert len(unaccounted) == 6 and set(unaccounted.values()) == {0}, node
        assert metrics["ring/batches.0-0/consumed"].values[-1] == STEPS
        loss = metrics["learner/loss"]
        losses.append({step: value for step, value in zip(loss.steps, loss.values, strict=True) if step >= end - STEPS})
    assert losses[0] == losses[1] and len(losses[0]) > STEPS // 3, "averaged over the group"


def test_the_run_goes_on_with_one_node_and_with_two_again(finished, tmp_path, capsys):
    nodes, end = finished
    one, two = tmp_path / "one", tmp_path / "two"
    source = newest_valid(nodes.run_dir)
    words = ("--resume", str(nodes.run_dir), "--reshard", "--run-dir", str(one), *ends_at(end + 5))
    train_inline(*words)
    printed = capsys.readouterr().out
    assert "nodes=1 (the run has 2)" in printed and "2 nodes of 0 GPUs" in printed
    checkpoint = newest_valid(one)
    assert checkpoint.document("meta")["nodes"] == 1 and not checkpoint.has_part("replay_1")
    assert env_steps_of(checkpoint, shards=1) >= env_steps_of(source, shards=2)
    given = {"run_dir": Given(str(two), "--run-dir"), "schedule.train_steps": Given(end + 50, "")}
    share = Share(1, 2)
    config, resumed = resumed_config(one, checkpoint, given, force=(), reshard=True, share=share)
    carry_out(check_reshard(config, resumed, nodes=2))
    again = newest_valid(two)
    assert again.document("meta")["nodes"] == 2 and "nodes=2 (the run has 1)" in capsys.readouterr().out
    assert env_steps_of(again, shards=2) == env_steps_of(checkpoint, shards=1)
    first, second = shards_of(two)
    assert (first.head == second.head).all() and not np.array_equal(first.frame, second.frame)


@ONLY_SOAK
def test_two_nodes_learn_catch(tmp_path):
    words = ("--game", "Catch", "--preset", "catch", "--gpus", "0", "actor.envs=8")
    with TwoNodes(tmp_path, tmp_path / "run", *words) as nodes:
        assert nodes.wait() == [0, 0], nodes.output(0)
    assert read_scores(nodes.run_dir)["last"]["mean"] >= 0.9


@ONLY_SOAK
def test_ctrl_c_on_one_node_ends_both_in_the_head_start(tmp_path):
    """When the other node's learner makes no agreement by itself; after the death of an actor, which its node replaced.
    Restarts are left, and not used.
    """
    head_start = ("schedule.head_start_env_steps=10000000", "schedule.env_steps=20000000")
    with TwoNodes(tmp_path, tmp_path / "run", *NEW, *LONG, *head_start, max_restarts=2) as nodes:
        nodes.wait_for(lambda: "train steps 0/" in nodes.output(0), "the first progress")
        nodes.look()
        os.kill(nodes.known[1]["actor-0"], signal.SIGKILL)
        nodes.wait_for(lambda: "node 1: actor-0 died and is replaced" in nodes.output(1), "the replacement")
        os.kill(nodes.known[1]["agent"], signal.SIGINT)
        assert nodes.wait_until_all_roles_end() < ALL_END_S
        assert 0 not in nodes.wait()
        for node in range(2):
            assert nodes.output(node).count("interrupted: saving and ending") == 1, nodes.output(node)
        assert_nothing_left(nodes)
        assert load_weights(newest(nodes.run_dir)).meta["step"] == 0
        assert not list(nodes.run_dir.rglob("crash.*"))
