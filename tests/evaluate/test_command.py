"""`evaluate RUN_DIR` on a run directory with a real, untrained network."""

import json
import shutil

import imageio_ffmpeg
import numpy as np
import pytest

from speedyzero import cli
from speedyzero.checkpoint.weights_file import checkpoint_dir, load_weights, save_weights
from speedyzero.config.documents import save_config
from speedyzero.evaluate.command import evaluate_run
from tests.evaluate.untrained import save_untrained, untrained_config
from tests.refusal import refusal

CONFIG = untrained_config()


@pytest.fixture
def run_dir(tmp_path):
    save_config(CONFIG, tmp_path / "config.yaml")
    for step in (10, 20):
        save_untrained(CONFIG, tmp_path, step)
    return tmp_path


def test_prints_keeps_and_films(run_dir, capsys):
    video = run_dir / "out.mp4"
    result = evaluate_run(run_dir, 6, video)
    printed = capsys.readouterr().out
    assert "train step 20" in printed and str(result) in printed and "4 simulations" in printed
    (kept,) = (run_dir / "evaluations").iterdir()
    content = json.loads(kept.read_text())
    assert content["step"] == 20 and content["episode_scores"] == result.episode_scores.tolist()
    assert imageio_ffmpeg.count_frames_and_secs(str(video))[0] == 10
    evaluate_run(run_dir, 6)
    assert len(list((run_dir / "evaluations").iterdir())) == 2


def test_the_same_weights_score_the_same(run_dir):
    last, again = evaluate_run(run_dir, 30), evaluate_run(run_dir, 30)
    np.testing.assert_array_equal(last.episode_scores, again.episode_scores)


def test_a_damaged_checkpoint_is_passed_over(run_dir, capsys):
    (checkpoint_dir(run_dir, 20) / "weights.safetensors").write_bytes(b"")
    evaluate_run(run_dir, 2)
    assert "train step 10" in capsys.readouterr().out


def test_what_is_missing_is_one_line(run_dir):
    assert "nowhere" in refusal(evaluate_run, run_dir / "nowhere", 2)
    assert "must end in" in refusal(evaluate_run, run_dir, 2, video_path=run_dir / "out.avi")
    empty = run_dir / "empty"
    empty.mkdir()
    save_config(CONFIG, empty / "config.yaml")
    assert str(empty) in refusal(evaluate_run, empty, 2)
    (run_dir / "config.yaml").write_text("")
    assert "is empty" in refusal(evaluate_run, run_dir, 2)
    save_config(untrained_config("Catch", "model.mlp_hidden=7"), run_dir / "config.yaml")
    assert "does not fit" in refusal(evaluate_run, run_dir, 2)
    weights = load_weights(checkpoint_dir(run_dir, 10))
    without = {name: value for name, value in weights.meta.items() if name != "config"}
    save_weights(run_dir / "old", weights.state, without)
    assert "settings" in refusal(evaluate_run, run_dir / "old")


def test_a_checkpoint_is_enough_on_another_machine(run_dir, tmp_path_factory, capsys):
    copied = tmp_path_factory.mktemp("elsewhere") / "brought along"
    shutil.copytree(checkpoint_dir(run_dir, 10), copied)
    elsewhere = evaluate_run(copied, 30)
    shutil.rmtree(checkpoint_dir(run_dir, 20))
    assert evaluate_run(run_dir, 30).episode_scores.tolist() == elsewhere.episode_scores.tolist()
    assert len(list((copied.parent / "evaluations").iterdir())) == 1
    words = ["evaluate", str(copied), "--episodes", "3"]
    assert cli.run(cli.check_command, words, prog="speedyzero") == cli.DONE
    assert sorted(path.name for path in copied.iterdir()) == ["manifest.json", "meta.json", "weights.safetensors"]


def test_another_seed_plays_other_games(run_dir):
    first, again, other = (evaluate_run(run_dir, 8, seed=seed) for seed in (0, 0, 7))
    assert first.episode_scores.tolist() == again.episode_scores.tolist() != other.episode_scores.tolist()
    assert other.protocol["seed"] == 7
