"""Metrics: what is written comes back, in strict JSON and in TensorBoard events."""

import json
import math
import resource

import numpy as np
import pytest

from speedyzero.observe import metrics
from speedyzero.observe.metrics import METRICS_FILE, MetricsWriter, put_aside_after, read_metrics
from tests.clock import Clock


def test_round_trip(tmp_path):
    clock = Clock()
    writer = MetricsWriter(tmp_path, clock=clock)
    for step in range(5):
        clock.now_s = 1000.0 + step
        writer.write("loss/total", np.float32(0.5) * step, np.int64(step * 10))
    writer.write("score", 7, 40)
    writer.close()
    metrics = read_metrics(tmp_path)
    assert set(metrics) == {"loss/total", "score"}
    np.testing.assert_array_equal(metrics["loss/total"].steps, [0, 10, 20, 30, 40])
    np.testing.assert_array_equal(metrics["loss/total"].values, [0, 0.5, 1, 1.5, 2])
    np.testing.assert_array_equal(metrics["loss/total"].times_s, [0, 1, 2, 3, 4])
    assert metrics["score"].values.tolist() == [7]


def test_not_finite_values_are_strict_json_and_read_back_as_they_were(tmp_path):
    writer = MetricsWriter(tmp_path)
    for step, value in enumerate((math.nan, math.inf, -math.inf, 1.0)):
        writer.write("loss", value, step)
    writer.close()
    lines = (tmp_path / METRICS_FILE).read_text().splitlines()
    entries = [json.loads(line, parse_constant=lambda word: pytest.fail(f"{word} is not JSON")) for line in lines]
    assert [entry["value"] for entry in entries] == [None, None, None, 1.0]
    assert [entry.get("note") for entry in entries] == ["nan", "inf", "-inf", None]
    np.testing.assert_array_equal(read_metrics(tmp_path)["loss"].values, [math.nan, math.inf, -math.inf, 1.0])


def test_lines_are_held_back_until_the_interval_is_over(tmp_path):
    clock = Clock()
    writer = MetricsWriter(tmp_path, flush_interval_s=5, clock=clock)
    writer.write("a", 1, 0)
    assert not (tmp_path / METRICS_FILE).exists()
    clock.now_s += 5
    writer.write("a", 2, 1)
    assert len((tmp_path / METRICS_FILE).read_text().splitlines()) == 2
    writer.close()


def test_a_second_writer_goes_on_after_a_torn_line(tmp_path):
    clock = Clock()
    first = MetricsWriter(tmp_path, clock=clock)
    clock.now_s += 30
    first.write("a", 1, 0)
    first.close()
    with open(tmp_path / METRICS_FILE, "a") as file:
        file.write('{"step": 1, "ti')
    assert read_metrics(tmp_path)["a"].values.tolist() == [1]
    second = MetricsWriter(tmp_path, clock=clock)
    clock.now_s += 2
    second.write("a", 2, 1)
    second.close()
    series = read_metrics(tmp_path)["a"]
    assert series.values.tolist() == [1, 2]
    assert series.times_s.tolist() == [30, 32]


@pytest.mark.parametrize("line", ["{", "[]", "3", '{"step": 1}', '{"step":1,"time_s":0,"name":"a","value":null}'])
def test_a_damaged_line_is_named(tmp_path, line):
    with pytest.raises(ValueError, match="not the directory of a run"):
        read_metrics(tmp_path)
    good = '{"step": 1, "time_s": 0.0, "name": "a", "value": 1.0}'
    (tmp_path / METRICS_FILE).write_text(f"{good}\n{line}\n{good}\n")
    with pytest.raises(ValueError, match="line 2"):
        read_metrics(tmp_path)


def test_tensorboard_reads_the_events(tmp_path):
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    writer = MetricsWriter(tmp_path)
    writer.write("score", 1.5, 3)
    writer.write("score", 2.5, 4)
    writer.close()
    (path,) = tmp_path.glob("events.out.tfevents.*")
    scalars = [
        (event.step, value.tag, value.tensor.float_val[0])
        for event in EventFileLoader(str(path)).Load()
        for value in event.summary.value
    ]
    assert scalars == [(3, "score", 1.5), (4, "score", 2.5)]


def test_metrics_of_later_steps_are_put_aside(tmp_path):
    assert put_aside_after(tmp_path, 3) == 0
    writer = MetricsWriter(tmp_path)
    for step in range(6):
        writer.write("loss", step, step)
    writer.close()
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"step": 7, "ti')  # cut off by a crash
    assert put_aside_after(tmp_path, 3) == 2
    assert read_metrics(tmp_path)["loss"].steps.tolist() == [0, 1, 2, 3]
    assert len((tmp_path / "metrics_given_up_at_000000003.jsonl").read_text().splitlines()) == 2
    writer = MetricsWriter(tmp_path)
    writer.write("loss", 9, 4)
    writer.close()
    assert read_metrics(tmp_path)["loss"].values.tolist() == [0, 1, 2, 3, 9]


def test_what_the_learner_said_at_the_step_itself_is_of_the_next_update(tmp_path):
    writer = MetricsWriter(tmp_path)
    for name in ("learner/loss", "learner/save_pause_s", "evaluate/mean_score"):
        for step in (2, 3):
            writer.write(name, step, step)
    writer.close()
    assert put_aside_after(tmp_path, 3) == 1
    kept = read_metrics(tmp_path)
    assert kept["learner/loss"].steps.tolist() == [2]
    assert kept["learner/save_pause_s"].steps.tolist() == kept["evaluate/mean_score"].steps.tolist() == [2, 3]


def test_a_disk_that_takes_nothing_more_ends_no_run_and_loses_no_line(tmp_path):
    told, limits = [], resource.getrlimit(resource.RLIMIT_FSIZE)
    writer = MetricsWriter(tmp_path, say=told.append)
    writer.write("loss", 0, 0)
    writer.flush()
    whole = (tmp_path / METRICS_FILE).stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (whole + 100, limits[1]))  # room for a line and a part of the next
    try:
        for step in range(1, 60):
            writer.write("loss", step, step)
            writer.flush()
        refused = (tmp_path / METRICS_FILE).read_bytes()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert refused.endswith(b"\n") and len(refused) <= whole + 100, "what did not fit as a whole is not there"
    writer.write("loss", 60, 60)
    writer.close()
    assert read_metrics(tmp_path)["loss"].values.tolist() == list(range(61))
    assert len(told) == 2 and "cannot be written" in told[0] and "written again" in told[1]


def test_of_more_lines_than_are_held_the_oldest_go(tmp_path, monkeypatch):
    monkeypatch.setattr(metrics, "MOST_HELD", 10)
    monkeypatch.setattr(metrics, "_append", lambda path, lines: (_ for _ in ()).throw(OSError(28, "full")))
    writer = MetricsWriter(tmp_path, say=lambda line: None)
    for step in range(25):
        writer.write("loss", step, step)
    writer.flush()
    monkeypatch.undo()
    writer.close()
    assert read_metrics(tmp_path)["loss"].steps.tolist() == list(range(15, 25))
