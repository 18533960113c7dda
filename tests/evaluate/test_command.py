"""`evaluate RUN_DIR` on a run directory with a real, untrained network."""

import json
import shutil

import imageio_ffmpeg
import numpy as np
import pytest
import torch

from speedyzero import cli
from speedyzero.arguments.resolve import resolve
from speedyzero.checkpoint.scores import record_score
from speedyzero.checkpoint.weights_file import checkpoint_dir, save_weights
from speedyzero.config.documents import save_config
from speedyzero.env.registry import check_game
from speedyzero.evaluate.command import evaluate_run
from speedyzero.learner.saving import checkpoint_meta
from speedyzero.model.build import build_network


@pytest.fixture
def config():
    return resolve(preset="catch", game="Catch", gpus=0, overrides=["search.num_simulations=4"])


def network(config, seed):
    game = check_game(config.env)
    torch.manual_seed(seed)
    fresh = build_network(config, game.spec, game.num_actions)
    for parameter in fresh.parameters():  # the heads begin at zero: make weights that prefer something
        torch.nn.init.normal_(parameter, std=0.3)
    return fresh


def save(config, run_dir, step):
    meta = checkpoint_meta(config, check_game(config.env), env_steps=0, step=step)
    save_weights(checkpoint_dir(run_dir, step), network(config, seed=step).state_dict(), meta)


@pytest.fixture
def run_dir(tmp_path, config):
    save_config(config, tmp_path / "config.yaml")
    save(config, tmp_path, 10)
    save(config, tmp_path, 20)
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
    assert sorted(path.name for path in (run_dir / "evaluations").iterdir()) == [
        "step_000000020-001.json",
        "step_000000020-002.json",
    ]


def test_the_same_weights_score_the_same_and_the_best_are_found(run_dir, capsys):
    last, again = evaluate_run(run_dir, 30), evaluate_run(run_dir, 30)
    np.testing.assert_array_equal(last.episode_scores, again.episode_scores)
    record_score(run_dir, step=10, mean=1.0)
    record_score(run_dir, step=20, mean=0.0)
    assert "train step 10" not in capsys.readouterr().out
    evaluate_run(run_dir, 30, which="best")
    assert "best weights, train step 10" in capsys.readouterr().out


def test_a_damaged_checkpoint_is_passed_over(run_dir, capsys):
    (checkpoint_dir(run_dir, 20) / "weights.safetensors").write_bytes(b"")
    evaluate_run(run_dir, 2)
    assert "train step 10" in capsys.readouterr().out


def test_episodes_default_to_the_runs_own(run_dir, config):
    assert len(evaluate_run(run_dir).episode_scores) == config.evaluate.episodes


def test_what_is_missing_is_one_line(tmp_path, run_dir, config):
    def refusal(directory, **arguments):
        with pytest.raises(ValueError) as error:
            evaluate_run(directory, 2, **arguments)
        assert "\n" not in str(error.value)
        return str(error.value)

    assert "neither a run's directory" in refusal(run_dir / "nowhere")
    assert "choose last or best" in refusal(run_dir, which="first")
    assert "no evaluation yet" in refusal(run_dir, which="best")
    assert "must end in" in refusal(run_dir, video_path=run_dir / "out.avi")
    record_score(run_dir, step=77, mean=1.0)
    assert "step_000000077" in refusal(run_dir, which="best")
    save_config(
        resolve(preset="catch", game="Catch", gpus=0, overrides=["model.mlp_hidden=7"]), run_dir / "config.yaml"
    )
    assert "does not fit" in refusal(run_dir)
    empty = run_dir / "empty"
    empty.mkdir()
    save_config(config, empty / "config.yaml")
    assert "nothing to evaluate" in refusal(empty)


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


def test_a_checkpoint_without_settings_says_what_to_name(tmp_path, config):
    meta = {"step": 1, "preset": config.preset, "game": "Catch", "num_actions": 3, "score": None}
    save_weights(tmp_path, network(config, seed=1).state_dict(), meta)
    with pytest.raises(ValueError, match="no settings of its own"):
        evaluate_run(tmp_path)


def test_another_seed_plays_other_games(run_dir):
    first, again, other = (evaluate_run(run_dir, 8, seed=seed) for seed in (0, 0, 7))
    assert first.episode_scores.tolist() == again.episode_scores.tolist() != other.episode_scores.tolist()
    assert other.protocol["seed"] == 7
