"""Two nodes on this machine: they train as one, end in order together, and end if one dies, which is named."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from speedyzero.checkpoint.scores import read_scores
from speedyzero.checkpoint.weights_file import load_weights, newest
from speedyzero.config.documents import load_config
from speedyzero.observe.metrics import read_metrics
from tests.nodes.two_agents import LONG, TwoNodes

ALL_END_S = 10.0


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TwoNodes, list[int]]]:
    with TwoNodes(tmp_path_factory.mktemp("finished")) as nodes:
        yield nodes, nodes.wait()


def test_two_nodes_train_and_score_as_one(finished):
    nodes, codes = finished
    assert codes == [0, 0], nodes.output(0) + nodes.output(1)
    assert read_scores(nodes.run_dir)["last"]["step"] == 120
    meta = load_weights(newest(nodes.run_dir)).meta
    assert meta["config"]["learner.batch_size"] == 32 and meta["env_steps"] >= 1000
    whole = load_config(nodes.run_dir / "config.yaml")
    assert whole.learner.batch_size == 32 and whole.schedule.env_steps == 1000
    progress = re.findall(r"env steps (\d+)/1000 .* train steps 120/120", nodes.output(0))
    assert progress and int(progress[-1]) > 900, "of both nodes"
    assert "train steps" not in nodes.output(1), "one shows the progress of all"
    for node in range(2):
        assert list(nodes.shm_dir(node).iterdir()) == []


def test_every_record_of_both_nodes_is_accounted_for(finished):
    nodes, _ = finished
    losses = []
    for run_dir in (nodes.run_dir, nodes.run_dir / "nodes" / "1"):
        metrics = read_metrics(run_dir)
        unaccounted = {name: one.values[-1] for name, one in metrics.items() if name.endswith("/unaccounted")}
        assert len(unaccounted) == 6 and set(unaccounted.values()) == {0}
        assert metrics["ring/batches.0-0/consumed"].values[-1] == 120
        losses.append(dict(zip(metrics["learner/loss"].steps, metrics["learner/loss"].values, strict=True)))
        assert metrics["supervisor/env_steps"].values[-1] >= 500
    assert losses[0] == losses[1] and len(losses[0]) > 50, "averaged over the group"


@pytest.mark.parametrize(
    ("node", "process", "line"),
    [
        (1, "learner-0", r"node 1 \(.*\): learner-0 died by signal SIGKILL"),
        (1, "supervisor", r"node 1 \(.*\): not heard of for \d s"),
        (0, "supervisor", r"node 0 \(.*\): its supervisor, which serves the store, is gone"),
        (1, "agent", r"node 1 \(.*\): its torchrun agent has died"),
    ],
)
def test_what_dies_ends_all_and_is_named(tmp_path, node, process, line):
    with TwoNodes(tmp_path, *LONG) as nodes:
        nodes.wait_for_training()
        os.kill(nodes.known[node][process], signal.SIGKILL)
        assert nodes.wait_until_all_roles_end() < ALL_END_S, nodes.output(0) + nodes.output(1)
        assert 0 not in nodes.wait()
        assert re.search(line, nodes.output(1 - node)), nodes.output(1 - node)
        if process != "supervisor":
            assert all(list(nodes.shm_dir(one).iterdir()) == [] for one in range(2))


def test_ctrl_c_on_one_node_ends_both_in_order(tmp_path):
    """In the head start, when the other node's learner makes no agreement by itself; after the death of an actor, which
    its node replaced. Restarts are left, and not used.
    """
    head_start = ("schedule.head_start_env_steps=10000000", "schedule.env_steps=20000000")
    with TwoNodes(tmp_path, *LONG, *head_start, max_restarts=2) as nodes:
        nodes.wait_for(lambda: "train steps 0/" in nodes.output(0), "the first progress")
        nodes.known = {node: nodes.processes(node) for node in range(2)}
        os.kill(nodes.known[1]["actor-0"], signal.SIGKILL)
        nodes.wait_for(lambda: "node 1: actor-0 died and is replaced" in nodes.output(1), "the replacement")
        os.kill(nodes.known[1]["agent"], signal.SIGINT)
        assert nodes.wait_until_all_roles_end() < ALL_END_S
        assert 0 not in nodes.wait()
        for node in range(2):
            output = nodes.output(node)
            assert output.count("interrupted: saving and ending") == 1, output
            assert list(nodes.shm_dir(node).iterdir()) == []
        assert load_weights(newest(nodes.run_dir)).meta["step"] == 0
        assert not list(nodes.run_dir.rglob("crash.*"))
        assert json.loads((nodes.run_dir / "metrics.jsonl").read_text().splitlines()[-1])


def test_bad_input_ends_both_with_one_line(tmp_path: Path):
    """And is not tried again."""
    with TwoNodes(tmp_path, "learner.batch_size=31", max_restarts=2) as nodes:
        assert 0 not in nodes.wait()
        for node in range(2):
            lines = re.findall(r"^train.py: .*$", nodes.output(node), re.MULTILINE)
            assert len(lines) == 1 and "learner.batch_size=31 does not divide into 2 equal parts" in lines[0]
        assert not nodes.run_dir.exists()
