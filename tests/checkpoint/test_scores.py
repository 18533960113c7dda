"""The last and the best score are kept apart."""

import json
import math

import pytest

from speedyzero.checkpoint.scores import SCORES_FILE, forget_scores_after, read_scores, record_score


def test_last_and_best(tmp_path):
    assert read_scores(tmp_path) == {}
    assert record_score(tmp_path, step=10, mean=-3.0, episodes=4)
    assert record_score(tmp_path, step=20, mean=5.0)
    assert not record_score(tmp_path, step=30, mean=5.0)
    assert not record_score(tmp_path, step=40, mean=1.0)
    assert read_scores(tmp_path) == {"last": {"step": 40, "mean": 1.0}, "best": {"step": 20, "mean": 5.0}}


def test_not_a_number_is_refused(tmp_path):
    with pytest.raises(ValueError, match="step 3"):
        record_score(tmp_path, step=3, mean=math.nan)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"last": {"step": 1}}', '{"last": 1, "best": 2}'])
def test_damage_is_named(tmp_path, content):
    (tmp_path / SCORES_FILE).write_text(content)
    with pytest.raises(ValueError, match="damaged"):
        read_scores(tmp_path)


def test_scores_of_later_steps_are_forgotten(tmp_path):
    forget_scores_after(tmp_path, 5)
    for step, mean in ((1, 3.0), (5, 2.0), (9, 4.0)):
        record_score(tmp_path, step=step, mean=mean)
    forget_scores_after(tmp_path, 9)
    assert read_scores(tmp_path)["best"]["step"] == 9
    forget_scores_after(tmp_path, 5)
    assert {kind: score["step"] for kind, score in read_scores(tmp_path).items()} == {"last": 5, "best": 1}
    record_score(tmp_path, step=9, mean=2.5)
    assert read_scores(tmp_path)["best"]["step"] == 1, "a best score from before the resume is not forgotten"
    forget_scores_after(tmp_path, 0)
    assert read_scores(tmp_path) == {} and not (tmp_path / SCORES_FILE).exists()


def test_a_file_that_kept_two_scores_alone_is_read(tmp_path):
    older = {"last": {"step": 9, "mean": 1.0}, "best": {"step": 5, "mean": 2.0}}
    (tmp_path / SCORES_FILE).write_text(json.dumps(older))
    assert read_scores(tmp_path) == older
    record_score(tmp_path, step=12, mean=3.0)
    forget_scores_after(tmp_path, 9)
    assert read_scores(tmp_path) == older
