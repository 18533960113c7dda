"""The learner's step on the device: right, and how many samples a second; where its time goes; its largest kernels.

A step is what the learner does: read a batch (positions from the host, frames from the mirror, augmented), start the
update, then take in what the one before found. `host_ms` is the host's time to read and start, without that wait: the
host is ahead where it is below the step's time. (A device queue holds about a thousand launches; with more in a step,
eagerly, the host waits for room, and both times come out alike.)

    eager             every operation launched by itself             graphed           the whole step as one graph
    fused norms       norm, addition, ReLU by kernels/norm_act       compiled norms    by torch.compile
    folded targets    target projections by running statistics (an ablation: not the same algorithm)
"""

import copy
import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu.context import Context
from benchmarks.gpu.learner_batches import ACTIONS, BatchSource, batch_source, noise_mirror
from benchmarks.gpu.learner_check import check_gradients, check_network, check_updates
from benchmarks.gpu.learner_parts import time_parts
from benchmarks.gpu.networks import atari_config, random_network
from benchmarks.gpu.timing import time_chain
from speedyzero.config import Config, LearnerConfig, OptimizerConfig
from speedyzero.learner.group import LoneLearner
from speedyzero.learner.trainer import Launched, Trainer

MODES: dict[str, dict[str, Any]] = {
    "eager": {"cuda_graph": False, "norms": "torch"},
    "graphed": {"norms": "torch"},
    "graphed, fused norms": {"norms": "fused"},
    "eager, fused norms": {"cuda_graph": False, "norms": "fused"},
    "graphed, folded targets": {"norms": "torch", "folded_targets": True},
    "graphed, fused norms, folded targets": {"norms": "fused", "folded_targets": True},
}
COMPILED: dict[str, dict[str, Any]] = {
    "graphed, compiled norms": {"norms": "compiled"},
    "eager, compiled norms": {"cuda_graph": False, "norms": "compiled"},
}
WARM_STEPS = 5  # three eager ones, the capture, and a replay
LARGEST = 10
PROFILE_NAME, TRACE_NAME = "learner_profile.txt", "learner_trace.json.gz"


class Loop:
    """The learner's steps."""

    def __init__(self, trainer: Trainer, source: BatchSource):
        self._trainer, self._source = trainer, source
        self._before: Launched | None = None
        self.host_ms: list[float] = []

    def step(self, number: int) -> None:
        started_s = time.perf_counter()
        launched = self._trainer.launch(self._source.read(number), number)
        self.host_ms.append(1e3 * (time.perf_counter() - started_s))
        if self._before is not None:
            self._before.result()
        self._before = launched


def run(context: Context) -> dict[str, Any]:
    network = check_network(context)
    gradients = check_gradients(context, network)
    context.keep(gradients=gradients, failures=gradients["failures"])
    for name in context.size(("torch", "fused"), ("torch",)):
        updates = check_updates(context, network, norms=name)
        failures = [f"{name} norms, {failure}" for failure in updates["failures"]]
        context.keep(**{f"updates, {name} norms": updates}, failures=[*context.results["failures"], *failures])
    bench = Bench(context)
    largest, *smaller = context.size((2048, 256, 1024), (4,))
    modes = context.size(MODES, {name: MODES[name] for name in ("eager", "graphed", "graphed, folded targets")})
    context.all_in_time(
        {
            **bench.rate_cases(largest, modes),
            "parts": partial(bench.keep_parts, largest),
            "profile": partial(bench.keep_profile, largest),
            **{name: case for batch in smaller for name, case in bench.rate_cases(batch, modes).items()},
            **context.size(bench.rate_cases(largest, COMPILED), {}),
        }
    )
    modes = context.results.get("batches", {}).get(f"B={largest}", {})
    rates = {name: found["samples_per_s"] for name, found in modes.items() if "samples_per_s" in found}
    if rates:
        best = max(rates, key=rates.__getitem__)
        context.keep(seen=f"batch {largest}: {rates[best]:,.0f} samples/s, {best}")
    return context.results


class Bench:
    """The replay and the network that every measurement begins with."""

    def __init__(self, context: Context):
        self._context, self._device = context, context.device
        config = self._config(1)
        self._network = random_network(config, ACTIONS, seed=1)
        self._mirror = noise_mirror(config, context.device, lanes=context.size(16, 2), rows=context.size(512, 64))

    def rate_cases(self, batch: int, modes: dict[str, dict[str, Any]]) -> dict[str, Callable[[], None]]:
        return {f"B={batch} {name}": partial(self._keep_rate, batch, name, modes[name]) for name in modes}

    def _config(self, batch: int, **learner: Any) -> Config:
        """The atari100k preset's, as far as a train step goes."""
        config = atari_config(simulations=50, is_tiny=self._context.is_rehearsal, gpus=0)
        optimizer = OptimizerConfig(name="clipped_lars", learning_rate=0.1)
        return replace(config, learner=LearnerConfig(batch_size=batch, **learner), optimizer=optimizer)

    def loop(self, batch: int, **learner: Any) -> Loop:
        config = self._config(batch, **learner)
        trainer = Trainer(config, copy.deepcopy(self._network), LoneLearner(), device=self._device, deferred=True)
        return Loop(trainer, batch_source(config, self._mirror, self._device))

    def _keep_rate(self, batch: int, name: str, learner: dict[str, Any]) -> None:
        try:
            found = self._rate(batch, learner)
            said = f"{found['samples_per_s']:10.0f} samples/s, host {found['host_ms']:.1f} ms a step"
        except torch.OutOfMemoryError as error:  # of a smaller card; the other sizes still count
            found, said = {"out_of_memory": str(error)[:200]}, "out of memory"
        print(f"B={batch:5} {name:38} {said}")
        table = self._context.results.get("batches", {})
        table.setdefault(f"B={batch}", {})[name] = found
        self._context.keep(batches=table)
        self._free()

    def _rate(self, batch: int, learner: dict[str, Any]) -> dict[str, Any]:
        on_gpu = self._device.type == "cuda"
        if on_gpu:
            torch.cuda.reset_peak_memory_stats()
        started_s = time.monotonic()
        loop = self.loop(batch, **learner)
        for number in range(WARM_STEPS):
            loop.step(number)
        self._context.sync()
        warm_s = time.monotonic() - started_s
        loop.host_ms.clear()
        rounds = self._context.size(max(10, 10 * 2048 // batch), 2)
        times = time_chain({"step": loop.step}, self._device, rounds=rounds)["step"]
        host_ms = statistics.median(loop.host_ms)
        return {
            "samples_per_s": times.per_s(batch),
            "host_ms": host_ms,
            "host_is_ahead": host_ms < times.median_ms,
            "times": times,
            "warm_up_s": warm_s,
            "peak_memory_gb": torch.cuda.max_memory_allocated() / 1e9 if on_gpu else 0.0,
        }

    def keep_parts(self, batch: int) -> None:
        """Eagerly, by device events."""
        found = {}
        for norms in self._context.size(("torch", "fused"), ("torch",)):
            config = self._config(batch, norms=norms, cuda_graph=False)
            source = batch_source(config, self._mirror, self._device)
            rounds = self._context.size(8, 2)
            found[norms] = time_parts(config, copy.deepcopy(self._network), source, self._device, rounds=rounds)
            for name, times in found[norms].items():
                print(f"B={batch:5} {norms} norms, {name:18} {times.median_ms:9.2f} ms")
        self._context.keep(parts={f"B={batch}": found})
        self._free()

    def keep_profile(self, batch: int) -> None:
        """The largest kernels of a step; all of them in learner_profile.txt, and a trace in learner_trace.json.gz."""
        lines, found = [], {}
        for name in self._context.size(("eager", "eager, fused norms"), ("eager",)):
            loop = self.loop(batch, **MODES[name])
            for number in range(WARM_STEPS):
                loop.step(number)
            trace = self._context.out / TRACE_NAME if name == "eager" else None
            kernels = profiled(loop, self._context, steps=self._context.size(3, 1), trace=trace)
            total_ms = sum(kernel["ms"] for kernel in kernels) or 1.0
            found[name] = {"kernels_ms": total_ms, "largest": kernels[:LARGEST], "kinds": len(kernels)}
            about = f"==== B={batch} {name}: {total_ms:.2f} ms of kernels a step, {len(kernels)} kinds ===="
            shown = [
                f"{k['ms']:9.3f} ms {k['ms'] / total_ms:6.1%} {k['count']:7.0f}x  {k['name'][:150]}" for k in kernels
            ]
            print("\n".join([about, *shown[:LARGEST]]))
            lines += [about, *shown]
        (self._context.out / PROFILE_NAME).write_text("\n".join(lines) + "\n")
        self._context.keep(profile=found)
        self._free()

    def _free(self) -> None:
        """What went out of use: steps refer to themselves, and a graph holds the memory of a whole step."""
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()


def profiled(loop: Loop, context: Context, *, steps: int, trace: Path | None) -> list[dict[str, Any]]:
    """Time of each kind of kernel in a step, the largest first; in a rehearsal of each operation."""
    on_gpu = context.device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities) as profiler:
        for number in range(steps):
            loop.step(number)
        context.sync()
    if trace is not None:
        profiler.export_chrome_trace(str(trace))
    wanted = DeviceType.CUDA if on_gpu else DeviceType.CPU
    kernels = [
        {
            "name": event.key,
            "ms": (event.self_device_time_total if on_gpu else event.self_cpu_time_total) / 1e3 / steps,
            "count": event.count / steps,
        }
        for event in profiler.key_averages()
        if event.device_type == wanted and not event.is_user_annotation  # marks that span kernels
    ]
    return sorted(kernels, key=lambda kernel: -kernel["ms"])
