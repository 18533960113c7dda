"""The command: what it writes and where, and what it refuses."""

from pathlib import Path

import pytest
from matplotlib.image import imread

from speedyzero.cli import DONE, check_command, run
from speedyzero.report.figures import DPI, WIDTH_IN
from tests.report.run_dirs import make_run


def report(*words: object) -> int:
    return run(check_command, ["report", *map(str, words)], prog="speedyzero")


def test_one_run_keeps_its_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run_dir = make_run(tmp_path / "run")
    before = {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file()}
    assert report(run_dir) == DONE
    assert str(run_dir / "report.html") in capsys.readouterr().out
    assert all(path.read_bytes() == content for path, content in before.items())


def test_several_runs_share_one_above_them_or_elsewhere(tmp_path: Path):
    run_dirs = [make_run(tmp_path / "runs" / f"seed{seed}", seed=seed) for seed in range(2)]
    run_dirs.append(make_run(tmp_path / "runs" / "c", "Catch", preset="catch", processes=(), reached=60))
    assert report(*run_dirs) == DONE
    assert (tmp_path / "runs" / "report.html").is_file() and not list(run_dirs[0].glob("report*"))
    pictures = sorted((tmp_path / "runs" / "report").iterdir())
    assert [path.name for path in pictures] == ["policy-and-value.png", "score-Catch.png", "score-Pong.png"]
    assert all(imread(path).shape[1] == round(WIDTH_IN * DPI) for path in pictures)
    assert report(run_dirs[2], "--out", tmp_path / "a" / "new") == DONE
    assert (tmp_path / "a" / "new" / "report.html").is_file() and not list(run_dirs[2].glob("report*"))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "RUN_DIR"),
        (["nowhere"], "nowhere: no config.yaml there"),
        (["run", "damaged"], "line 1 is not a metric"),
        (["run", "run"], "run: named twice"),
        (["run", "--uot", "x"], "did you mean --out?"),
        (["run", "--out", "run/config.yaml"], "cannot write in"),
    ],
)
def test_bad_input_is_one_line(tmp_path, monkeypatch, refused, words: list[str], expected: str):
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "run")
    (make_run(tmp_path / "damaged") / "metrics.jsonl").write_text("nonsense\n")
    assert expected in refused(check_command, ["report", *words])
    assert not (tmp_path / "run" / "report.html").exists()
