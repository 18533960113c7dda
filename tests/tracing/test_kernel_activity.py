"""A GPU's activity on the spans' clock: the clock with the profiler on a CPU, the reading with a made-up file."""

import json
import time

import pytest
import torch

from speedyzero.tracing.kernel_activity import KernelActivity, read_kernels


def test_the_marker_ties_the_profiler_s_clock_to_ours(tmp_path):
    path = tmp_path / "kernels.learner-0.json"
    activity = KernelActivity(path, device="cpu")
    activity.begin()
    torch.ones(4).sum()
    activity.end()
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    document = json.loads(path.read_text())
    (marker,) = document["traceEvents"]
    assert marker["name"] == "speedyzero.clock" and 0 < document["marked_ns"] <= time.monotonic_ns()
    kernel = {**marker, "name": "gemm", "cat": "kernel", "args": {"stream": 7}, "ts": marker["ts"] + 250.0, "dur": 2.5}
    path.write_text(json.dumps({**document, "traceEvents": [kernel, marker]}))
    (found,) = read_kernels(path, begin_ns=document["marked_ns"])
    assert (found.name, found.stream, found.duration_ns) == ("gemm", 7, 2500)
    assert found.start_ns == pytest.approx(250_000 - 500 * marker["dur"], abs=2_000)


def test_without_a_marker_the_clock_is_unknown(tmp_path):
    path = tmp_path / "kernels.json"
    path.write_text(json.dumps({"marked_ns": 5, "traceEvents": []}))
    with pytest.raises(ValueError, match="no marker"):
        read_kernels(path, begin_ns=0)
