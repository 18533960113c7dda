"""Whatever becomes of the bytes of a checkpoint, its blocks of rows included: it is reported, an older one is used."""

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from speedyzero.checkpoint.manifest import MANIFEST_FILE, checkpoint_dir, read_manifest
from speedyzero.supervisor.resume import find_resumable
from tests.faults.inline_runs import advance
from tests.faults.ring_contract import reached, share
from tests.faults.small_run import NEWER, OLDER, copy_of, resumed


@pytest.fixture
def run_dir(made, tmp_path) -> Path:
    return copy_of(made, tmp_path / "run")


def files_of_the_newer(run_dir: Path) -> list[Path]:
    """All that it is read from, the blocks of rows included."""
    directory = checkpoint_dir(run_dir, NEWER)
    return [directory / MANIFEST_FILE, *(directory / name for name in read_manifest(directory).files)]


def outcome(run_dir: Path, caplog: pytest.LogCaptureFixture) -> str:
    """What a resume would do about the damage; silence fails."""
    caplog.clear()
    try:
        _, checkpoint = find_resumable(run_dir)
    except ValueError as error:
        assert "\n" not in str(error) and "passed over" in str(error)
        return "refused"
    assert checkpoint.step == OLDER, "a damaged checkpoint was taken for a whole one"
    assert f"step {NEWER} passed over" in caplog.text
    return "older one used"


def tried(run_dir: Path, path: Path, damaged: bytes, caplog: pytest.LogCaptureFixture) -> str:
    content = path.read_bytes()
    path.write_bytes(damaged)
    try:
        return outcome(run_dir, caplog)
    finally:
        path.write_bytes(content)


@pytest.mark.contract(13)
@pytest.mark.parametrize("kind", ["bit flips", "truncations"])
def test_damage_is_never_silent(run_dir, caplog, kind):
    rng, outcomes = np.random.default_rng(0), []
    count = share({"bit flips": 300, "truncations": 200}[kind])
    files = files_of_the_newer(run_dir)
    for trial in range(count):
        path = files[trial % len(files)]
        content = bytearray(path.read_bytes())
        if kind == "bit flips":
            content[rng.integers(len(content))] ^= 1 << rng.integers(8)
        else:
            # A final line break is no loss: the manifest, which nothing else vouches for, is whole without.
            content = content[: rng.integers(len(content) - (path.name == "manifest.json"))]
        outcomes.append(tried(run_dir, path, bytes(content), caplog))
    assert set(outcomes) <= {"older one used", "refused"} and outcomes.count("older one used") > count / 2
    reached(13, counts={kind: count})


@pytest.mark.contract(13)
def test_a_missing_file_is_never_silent(run_dir, caplog):
    for path in files_of_the_newer(run_dir):
        content = path.read_bytes()
        path.unlink()
        assert outcome(run_dir, caplog) in ("older one used", "refused")
        path.write_bytes(content)
    assert find_resumable(run_dir)[1].step == NEWER


def test_a_resume_reads_and_hashes_each_file_once(run_dir, monkeypatch):
    reads, read = Counter(), Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: reads.update([path]) or read(path))
    resumed(run_dir).close()
    manifest, *files = files_of_the_newer(run_dir)
    assert [reads[path] for path in files] == [1] * len(files) and len(files) > 15


@pytest.mark.contract(13)
def test_the_older_one_is_good_to_go_on_from(run_dir):
    path = checkpoint_dir(run_dir, NEWER) / "learner.safetensors"
    os.truncate(path, path.stat().st_size - 1)
    run = resumed(run_dir)
    assert run.learner.train_step == OLDER
    assert len(advance(run, to_step=NEWER)) == NEWER - OLDER
    run.close()
