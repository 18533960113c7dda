"""Resumes that cannot be: one line that says what, where and what to do, exit code 2, and nothing is changed."""

import json
import os
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import pytest

from speedyzero import cli
from speedyzero.checkpoint.manifest import checkpoint_dir, entry_of, read_manifest, write_manifest
from speedyzero.checkpoint.store import CheckpointStore
from tests.faults.rights import as_nobody
from tests.faults.ring_contract import reached
from tests.faults.small_run import NEWER, OLDER, contents, copy_of


def both(run_dir: Path) -> list[Path]:
    return [checkpoint_dir(run_dir, step) for step in (OLDER, NEWER)]


def nothing(run_dir: Path) -> None:
    pass


def without(name: str) -> Callable[[Path], None]:
    def remove(run_dir: Path) -> None:
        for directory in both(run_dir):
            (directory / name).unlink()

    return remove


def unlisted(name: str) -> Callable[[Path], None]:
    """As a checkpoint of weights alone, or of another program."""

    def forget(run_dir: Path) -> None:
        for directory in both(run_dir):
            entries = read_manifest(directory).files
            del entries[name]
            write_manifest(directory, entries)

    return forget


def no_log(run_dir: Path) -> None:
    for path in (run_dir / "replay").glob("*.zst"):
        path.unlink()


def flipped_log(run_dir: Path) -> None:
    path = min((run_dir / "replay").glob("*.zst"))
    content = path.read_bytes()
    path.write_bytes(content[:300] + bytes([content[300] ^ 1]) + content[301:])


def rewritten(name: str, change: Callable[[dict], None]) -> Callable[[Path], None]:
    """A document that was tampered with, its hash made right again."""

    def rewrite(run_dir: Path) -> None:
        for directory in both(run_dir):
            document = json.loads((directory / name).read_bytes())
            change(document)
            (directory / name).write_text(json.dumps(document))
            write_manifest(
                directory, read_manifest(directory).files | {name: entry_of((directory / name).read_bytes())}
            )

    return rewrite


FIRST_BLOCK = "is damaged: ../../replay/shard-00000.actor-00000.row-000000000000"

CASES: dict[str, tuple[Callable[[Path], None], list[str], list[str]]] = {
    "another game": (nothing, ["--game", "CartPole-v1"], ["env.game=CartPole-v1 (the run has Catch)"]),
    "another game, forced": (nothing, ["--game", "CartPole-v1", "--force", "env.game"], ["replay log", "not"]),
    "another seed": (nothing, ["--seed", "7"], ["seed=7 (the run has 0)"]),
    "another network": (nothing, ["model.mlp_hidden=32"], ["model.mlp_hidden=32 (the run has 16)"]),
    "another network, forced": (nothing, ["model.mlp_hidden=32", "--force", "model.mlp_hidden"], ["do not fit"]),
    "another optimiser, forced": (nothing, ["optimizer.name=sgd", "--force", "optimizer.name"], ["AdamW", "SGD"]),
    "more envs, forced": (nothing, ["actor.envs=4", "--force", "actor.envs"], ["lanes of each actor"]),
    "more shards, forced": (
        nothing,
        [*"actor.actors=2 replay.shards=2 actor.envs=4 --force replay.shards --force actor.actors".split()]
        + ["--force", "actor.envs"],
        ["1 shards of replay, this run 2"],
    ),
    "fewer steps": (nothing, ["schedule.train_steps=200"], ["schedule.train_steps=200 (the run has 300)"]),
    "a run that is done": (
        nothing,
        ["schedule.train_steps=9", "--force", "schedule.train_steps"],
        ["is done", "schedule.train_steps="],
    ),
    "no such setting to force": (nothing, ["--force", "optimizer.nam"], ["did you mean optimizer.name?"]),
    "two directories": (nothing, ["--run-dir", "elsewhere"], ["continues in its own directory"]),
    "no learner's state": (without("learner.safetensors"), [], ["learner.safetensors", "No such file"]),
    "weights alone": (unlisted("state.json"), [], ["has no checkpoint to resume from"]),
    "no replay in it": (unlisted("replay_0.json"), [], ["has 0 shards of replay"]),
    "no replay log": (no_log, [], [FIRST_BLOCK, "No such file"]),
    "a damaged replay log": (flipped_log, [], [FIRST_BLOCK, "sha256"]),
    "settings of another program": (
        rewritten("meta.json", lambda meta: meta["config"].update({"env.gravity": 9.8})),
        [],
        ["unknown setting env.gravity"],
    ),
    "no settings": (rewritten("meta.json", lambda meta: meta.pop("config")), [], ["must be a group of settings"]),
    "rows that are none": (rewritten("replay_0.json", lambda part: part.pop("rows")), [], ["no rows of shard 0"]),
}  # fmt: skip


@pytest.fixture
def refusal(refused) -> Callable[[list[str]], str]:
    return partial(refused, cli.check_train, prog="train.py")


@pytest.mark.contract(16)
@pytest.mark.parametrize("name", CASES)
def test_bad_resumes_are_one_line(made, tmp_path, refusal, name):
    change, words, expected = CASES[name]
    run_dir = copy_of(made, tmp_path / "run")
    change(run_dir)
    before = contents(tmp_path)
    line = refusal(["--inline", "--resume", str(run_dir), *words])
    for part in expected:
        assert part in line
    assert "allow it with" not in line or name in ("another seed", "fewer steps"), "what never fits"
    assert contents(tmp_path) == before
    reached(16, name, counts={"bad resumes": 1})


@pytest.mark.contract(16)
def test_no_permission_is_one_line(made, refusal):
    """As nobody where the tests are root's, who may read everything; pytest's own folders are closed to nobody."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        run_dir = copy_of(made, Path(folder) / "run")
        for path in (run_dir, *run_dir.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        for directory in both(run_dir):
            (directory / "learner.json").chmod(0)
        with as_nobody() if os.geteuid() == 0 else nullcontext():
            line = refusal(["--inline", "--resume", str(run_dir)])
    assert "learner.json" in line and "Permission denied" in line
    reached(16, "no permission", counts={"bad resumes": 1})


def test_what_may_differ_is_told_and_taken(made, tmp_path, taken):
    run_dir = copy_of(made, tmp_path / "run")
    words = ["schedule.train_steps=400", "checkpoint.keep_last=1", "optimizer.weight_decay=0.5"]
    forced = ["--force", "optimizer.weight_decay"]
    for where in (str(run_dir), str(checkpoint_dir(run_dir, OLDER))):
        assert cli.run(cli.check_train, ["--inline", "--resume", where, *words, *forced], prog="train.py") == cli.DONE
    assert [resume.step for _, resume in taken] == [NEWER, OLDER]
    config, resume = taken[0]
    assert {change.path for change in resume.changes} == {word.partition("=")[0] for word in words}
    assert config.optimizer.weight_decay == 0.5 and Path(config.run_dir) == run_dir


def test_a_run_that_another_process_writes_is_refused(made, tmp_path, refusal):
    run_dir = copy_of(made, tmp_path / "run")
    with CheckpointStore(run_dir):
        for where in (run_dir, checkpoint_dir(run_dir, OLDER)):
            line = refusal(["--resume", str(where)])
            assert f"process {os.getpid()} is at work" in line


def edit(run_dir: Path, **values: str) -> None:
    path = run_dir / "config.yaml"
    lines = path.read_text().splitlines()
    for name, value in values.items():
        (number,) = [number for number, line in enumerate(lines) if line.strip().startswith(f"{name}:")]
        lines[number] = f"{lines[number].partition(':')[0]}: {value}"
    path.write_text("\n".join(lines))


def test_edits_of_the_config_are_named_or_taken(made, tmp_path, taken, refusal):
    run_dir = copy_of(made, tmp_path / "run")
    edit(run_dir, frozen_train_steps="70", hang_s="60.0")
    assert cli.run(cli.check_train, ["--inline", "--resume", str(run_dir)], prog="train.py") == cli.DONE
    ((config, resume),) = taken
    assert (config.schedule.frozen_train_steps, config.supervisor.hang_s) == (70, 60.0)
    assert "in config.yaml supervisor.hang_s=60.0 (the run has 120.0)" in map(str, resume.changes)
    edit(run_dir, td_steps="4")
    line = refusal(["--inline", "--resume", str(run_dir)])
    assert "in config.yaml target.td_steps=4 (the run has 9)" in line and "--force target.td_steps" in line
    given = ["--inline", "--resume", str(run_dir), "target.td_steps=9"]
    assert cli.run(cli.check_train, given, prog="train.py") == cli.DONE
    edit(run_dir, td_steps="four")
    assert "config.yaml: target.td_steps=four" in refusal(["--inline", "--resume", str(run_dir)])
