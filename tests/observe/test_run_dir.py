"""Run directories are never used twice, and the log is written there."""

import logging
import shlex

import pytest

from speedyzero.observe.run_dir import LOG_FILE, create_run_dir, run_log, summary


def test_numbers_go_on_after_the_highest(tmp_path):
    names = [create_run_dir(game="Pong", preset="laptop", seed=0, root=tmp_path).name for _ in range(2)]
    assert names == ["Pong-laptop-seed0-001", "Pong-laptop-seed0-002"]
    (tmp_path / "Pong-laptop-seed0-041").mkdir()
    assert create_run_dir(game="Pong", preset="laptop", seed=0, root=tmp_path).name == "Pong-laptop-seed0-042"
    assert create_run_dir(game="Pong", preset="laptop", seed=1, root=tmp_path).name == "Pong-laptop-seed1-001"


def test_a_gymnasium_id_with_a_slash_is_one_name(tmp_path):
    path = create_run_dir(game="ALE/Pong-v5", preset="laptop", seed=0, root=tmp_path)
    assert path == tmp_path / "ALE-Pong-v5-laptop-seed0-001"


def test_a_given_directory_is_used_when_empty_and_refused_otherwise(tmp_path):
    wanted = tmp_path / "here" / "it"
    path = create_run_dir(game="Pong", preset="laptop", seed=0, run_dir=str(wanted))
    assert path == wanted and path.is_dir()
    assert create_run_dir(game="Pong", preset="laptop", seed=0, run_dir=str(wanted)) == wanted
    (wanted / "file").touch()
    with pytest.raises(ValueError, match="not empty"):
        create_run_dir(game="Pong", preset="laptop", seed=0, run_dir=str(wanted))


def test_the_log_ends_with_its_context(tmp_path):
    with run_log(tmp_path):
        logging.getLogger("speedyzero.learner").info("step %d", 3)
    logging.getLogger("speedyzero.learner").warning("too late")
    text = (tmp_path / LOG_FILE).read_text()
    assert "speedyzero.learner: step 3" in text
    assert "too late" not in text


def test_the_summary_names_everything(tmp_path):
    text = summary(tmp_path, game="Pong", env_steps=4000, train_steps=1500, duration_s=754, score="1.5", film=True)
    assert "4000 env steps, 1500 train steps in 12:34" in text
    assert str(tmp_path) in text and "--video" in text


def test_what_the_summary_says_to_type_can_be_typed():
    text = summary("my runs/a b", game="my:Game-v0", env_steps=1, train_steps=1, duration_s=1, score="1", film=False)
    (line,) = [line for line in text.splitlines() if "evaluate" in line]
    assert shlex.split(line)[5:] == ["evaluate", "my runs/a b", "--game", "my:Game-v0", "--episodes", "32"]
