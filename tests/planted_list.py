"""The list of `planted_bugs.py`: what is replaced where, and which tests must then fail."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Bug:
    """One text of one file, and what stands there when the bug is planted."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


RING = ("tests/shm/test_ring.py", "tests/shm/test_ring_interleavings.py")
RING_KILLS = ("tests/faults/test_ring_points.py", "tests/faults/test_ring_kills.py")
WEIGHTS = ("tests/shm/test_weight_interleavings.py",)
NORM_ACT = ("tests/kernels/test_norm_act.py",)
GPU_SUITE = ("tests/benchmarks",)
FUSED = ("tests/kernels/test_fused_search.py",)
SEARCHER = ("tests/kernels/test_searcher.py",)
PROFILE = ("tests/profile",)
SPANS = ("tests/observe/test_spans.py",)

BUGS = (
    Bug(
        "fused-relu-swallows-nan",
        "kernels/norm_act/triton_gpu.py",
        "value = tl.where(value < 0.0, 0.0, value)",
        "value = tl.where(value > 0.0, value, 0.0)",
        NORM_ACT,
    ),
    Bug(
        "fused-relu-swallows-nan-on-a-gpu-alone",
        "kernels/norm_act/triton_gpu.py",
        "value = tl.where(value < 0.0, 0.0, value)",
        "value = tl.maximum(value, 0.0)",
        ("tests/kernels/test_triton_compiles.py",),
    ),
    Bug(
        "fused-norm-s-running-variance-is-biased",
        "kernels/norm_act/triton_gpu.py",
        "m2 / (row_count - 1.0) - before",
        "m2 / row_count - before",
        NORM_ACT,
    ),
    Bug(
        "fused-norm-s-tiles-are-not-merged",
        "kernels/norm_act/triton_gpu.py",
        " + delta * delta * count * share",
        "",
        NORM_ACT,
    ),
    Bug(
        "fused-norm-loses-a-small-variance-far-from-zero",
        "kernels/norm_act/triton_gpu.py",
        "origin = tl.load(first, channel < CHANNELS, 0.0).to(tl.float32)",
        "origin = tl.zeros([BLOCK_CHANNELS], tl.float32)",
        NORM_ACT,
    ),
    Bug(
        "a-bad-batch-s-statistics-stay",
        "speedyzero/learner/device_step.py",
        "Undo([*network.parameters(), *network.buffers(), ",
        "Undo([*network.parameters(), ",
        ("tests/kernels/test_fused_norms.py", "tests/learner/test_trainer.py"),
    ),
    Bug(
        "the-host-reads-the-device-on-the-way",
        "speedyzero/learner/batch.py",
        "weight=on_device(weight, self._device),",
        "weight=on_device(weight, self._device) / on_device(weight, self._device).max().item(),",
        ("tests/learner/test_no_host_reads.py",),
    ),
    Bug(
        "gpu-suite-writes-at-the-end-alone",
        "benchmarks/gpu/runner.py",
        "        write_json(out / JSON_NAME,",
        "        stage is stages[-1] and write_json(out / JSON_NAME,",
        GPU_SUITE,
    ),
    Bug(
        "gpu-suite-leaves-a-hanging-stage-s-children",
        "benchmarks/gpu/runner.py",
        "            os.killpg(process.pid, signal.SIGKILL)",
        "            process.kill()",
        GPU_SUITE,
    ),
    Bug(
        "gpu-suite-is-well-where-nothing-ran",
        "benchmarks/gpu/summary.py",
        "    if _has_no_gpu(report) or _ran_nothing(report):",
        "    if _has_no_gpu(report):",
        GPU_SUITE,
    ),
    Bug(
        "checksum-off",
        "speedyzero/shm/consumer.py",
        "if words[header + CHECKSUM] != checksum(self._payloads[slot], number, epoch):",
        "if False:",
        RING,
    ),
    Bug(
        "checksum-off-under-kills",
        "speedyzero/shm/consumer.py",
        "if words[header + CHECKSUM] != checksum(self._payloads[slot], number, epoch):",
        "if words[header + CHECKSUM] != checksum(self._payloads[slot], number, epoch) and False:",
        ("tests/faults/test_ring_kills.py",),
    ),
    Bug(
        "commit-before-payload",
        "speedyzero/shm/producer.py",
        "        self._words[WRITING] = self._head + 1\n",
        "        self._words[WRITING] = self._head + 1\n        self._words[HEAD] = self._head + 1\n",
        RING_KILLS,
    ),
    Bug(
        "commit-before-stamps",
        "speedyzero/shm/producer.py",
        "        words[header + CHECKSUM] = checksum(self._payloads[slot], number, self.epoch)\n",
        "        words[HEAD] = number\n"
        "        words[header + CHECKSUM] = checksum(self._payloads[slot], number, self.epoch)\n",
        RING,
    ),
    Bug(
        "slot-freed-before-it-is-booked",
        "speedyzero/shm/consumer.py",
        "        self._bank[count] += 1\n",
        "        words[TAIL] = tail\n        self._bank[count] += 1\n",
        (*RING, "tests/faults/test_ring_points.py"),
    ),
    Bug(
        "weights-copied-without-a-second-look",
        "speedyzero/shm/weight_slots.py",
        "if words[header + NUMBER] != number:",
        "if False:",
        WEIGHTS,
    ),
    Bug(
        "weights-checksum-off",
        "speedyzero/shm/weight_slots.py",
        "if checksum(out, number, version) != stamped:",
        "if False:",
        (*WEIGHTS, "tests/shm/test_weight_slots.py"),
    ),
    Bug(
        "sweep-takes-the-living",
        "speedyzero/shm/sweep.py",
        "        elif is_alive(run.owner):\n",
        "        elif False:\n",
        ("tests/shm/test_sweep.py",),
    ),
    Bug(
        "long-start-is-a-silence",
        "speedyzero/supervisor/crew.py",
        "child.pulse.look((has_begun, board.heartbeat_ns(name)), passed_s)",
        "child.pulse.look(board.heartbeat_ns(name), passed_s)",
        ("tests/supervisor/test_crew.py",),
    ),
    Bug(
        "orphans-live-until-they-have-imported",
        "speedyzero/parent_death.py",
        "return _armed, (self.parent_pid,)",
        "return DiesWithParent, (self.parent_pid,)",
        ("tests/supervisor/test_child.py",),
    ),
    Bug(
        "gradients-summed-not-averaged",
        "speedyzero/learner/group.py",
        "        self._flat[:end] /= self.size\n",
        "",
        ("tests/learner/test_group.py",),
    ),
    Bug(
        "importance-weights-by-rank",
        "speedyzero/learner/group.py",
        "        dist.all_reduce(message, dist.ReduceOp.MAX)\n",
        "        dist.all_reduce(message[1:], dist.ReduceOp.MAX)\n",
        ("tests/learner/test_group.py",),
    ),
    Bug(
        "play-does-not-wait",
        "speedyzero/pacing.py",
        "return not ahead and share < self.schedule.env_steps",
        "return share < self.schedule.env_steps",
        ("tests/test_pacing.py",),
    ),
    Bug(
        "lstm-state-is-not-reset",
        "speedyzero/model/fused_inference.py",
        "reset=buffers.reset,",
        "reset=None,",
        FUSED,
    ),
    Bug(
        "states-of-another-root",
        "speedyzero/model/fused_inference.py",
        "buffers.parent_row, nodes.parent,",
        "buffers.parent_row.roll(1), nodes.parent,",
        FUSED,
    ),
    Bug(
        "captured-with-old-weights",
        "speedyzero/model/agent.py",
        "            self._fused.load()\n",
        "            pass\n",
        FUSED,
    ),
    Bug(
        "new-weights-elsewhere",
        "speedyzero/model/fused_inference.py",
        "self._weights.load(pack(self._network, dtype=self.dtype))",
        "self._weights = pack(self._network, dtype=self.dtype)",
        FUSED,
    ),
    Bug(
        "host-waits-in-the-step",
        "speedyzero/model/fused_inference.py",
        "        assert isinstance(nodes, FusedNodes)\n",
        "        assert isinstance(nodes, FusedNodes) and buffers.leaf.item() >= 0\n",
        FUSED,
    ),
    Bug(
        "root-noise-of-the-search-before",
        "speedyzero/search/static_search.py",
        "            copy_padded(self._chance.root, chance.root)\n",
        "            pass\n",
        SEARCHER,
    ),
    Bug(
        "ties-of-the-search-before",
        "speedyzero/search/static_search.py",
        "self._chance.tie_seed.fill_(chance.tie_seed)",
        "pass",
        SEARCHER,
    ),
    Bug(
        "simulation-does-not-count-up",
        "speedyzero/search/static_search.py",
        "        self._now.add_(1)\n",
        "        pass\n",
        SEARCHER,
    ),
    Bug(
        "padded-roots-are-left-over",
        "speedyzero/search/latents.py",
        "        target[count:].zero_()\n",
        "        pass\n",
        SEARCHER,
    ),
    Bug(
        "result-is-overwritten-later",
        "speedyzero/search/searcher.py",
        "tensor[:batch].clone()",
        "tensor[:batch]",
        SEARCHER,
    ),
    Bug(
        "evaluations-on-the-training-s-clock",
        "speedyzero/ablate/outcome.py",
        '    return total_s[np.searchsorted(waits.times_s, times_s, side="right")]\n',
        "    return np.zeros_like(times_s)\n",
        ("tests/ablate/test_outcome.py",),
    ),
    Bug(
        "half-a-run-is-finished",
        "speedyzero/ablate/outcome.py",
        'return bool(scores) and scores["last"]["step"] == run.config.schedule.total_train_steps',
        "return bool(scores)",
        ("tests/ablate/test_outcome.py",),
    ),
    Bug(
        "ablation-s-child-outlives-it",
        "speedyzero/ablate/children.py",
        "            preexec_fn=die_with_parent,\n",
        "",
        ("tests/ablate/test_children.py",),
    ),
    Bug(
        "unfinished-run-stays-in-the-way",
        "speedyzero/ablate/command.py",
        "started=lambda job: self._move_aside(by_name[job.name]),",
        "started=lambda job: None,",
        ("tests/ablate/test_command.py",),
    ),
    Bug(
        "share-refreshed-without-the-learner-s",
        "speedyzero/reanalyze/refresh.py",
        "share = float((version >= self._swept_version).mean())",
        "share = float((version == self._swept_version).mean())",
        ("tests/reanalyze/test_refresh.py",),
    ),
    Bug(
        "snapshot-shares-memory",
        "speedyzero/checkpoint/snapshot.py",
        "copy=True",
        "copy=False",
        ("tests/checkpoint/test_snapshot.py",),
    ),
    Bug(
        "tuples-become-lists-in-a-checkpoint",
        "speedyzero/checkpoint/optimizer_state.py",
        'return packed if isinstance(value, list) else {"tuple": packed}',
        "return packed",
        ("tests/checkpoint/test_optimizer_state.py",),
    ),
    Bug(
        "short-tapes-begin-too-early",
        "speedyzero/env/taped.py",
        "waits = ticks - length",
        "waits = 0 * length",
        ("tests/env/test_taped.py",),
    ),
    Bug(
        "resume-forgets-draws",
        "speedyzero/supervisor/inline.py",
        "first_draw=0 if checkpoint is None else draws_of(checkpoint, 0),",
        "first_draw=0,",
        ("tests/faults/test_inline_resume.py",),
    ),
    Bug(
        "resume-forgets-the-sweep",
        "speedyzero/reanalyze/refresh.py",
        'self._lane, self._step = part.array("sweep_lane"), part.array("sweep_step")',
        'self._lane, self._step = part.array("sweep_lane")[:0], part.array("sweep_step")[:0]',
        ("tests/faults/test_inline_resume.py",),
    ),
    Bug(
        "resume-forgets-what-is-on-its-way",
        "speedyzero/supervisor/inline.py",
        "        restore_edges(edges, checkpoint.part(EDGES_PART))\n",
        "",
        ("tests/faults/test_inline_resume.py",),
    ),
    Bug(
        "a-wait-is-not-followed",
        "speedyzero/profile/critical_path.py",
        "        if under_way.kind == BUSY:\n            name = at\n            continue\n",
        "",
        PROFILE,
    ),
    Bug(
        "the-busiest-is-the-bottleneck",
        "speedyzero/profile/diagnosis.py",
        "bottleneck = max(path.seconds, key=lambda name: path.seconds[name])",
        "bottleneck = max(shares, key=lambda name: shares[name].busy)",
        PROFILE,
    ),
    Bug(
        "chains-of-waits-by-busy-time-alone",
        "speedyzero/profile/wait_chain.py",
        "    rate = waited / busy[:, None]\n",
        "    rate = waited.copy()\n",
        PROFILE,
    ),
    Bug(
        "gains-know-no-next-limit",
        "speedyzero/profile/diagnosis.py",
        "    factor = max(1.0, min(bounds.values()))\n",
        "    factor = max(1.0, max(bounds.values()))\n",
        PROFILE,
    ),
    Bug(
        "unaccounted-time-is-hidden",
        "speedyzero/profile/shares.py",
        "        return self.wall_s - self.busy_s - sum(self.waits_s.values())\n",
        "        return 0.0\n",
        PROFILE,
    ),
    Bug(
        "a-long-wait-is-told-at-its-end-alone",
        "speedyzero/process_spans.py",
        "        if recorder.is_old(end_ns):\n            self._tell_wait(recorder)\n",
        "        if recorder.is_old(end_ns):\n",
        SPANS,
    ),
    Bug(
        "lost-spans-are-not-counted",
        "speedyzero/observe/spans.py",
        "            self.dropped += count\n",
        "            pass\n",
        SPANS,
    ),
    Bug(
        "a-trace-in-the-order-in-which-spans-ended",
        "speedyzero/observe/trace.py",
        "    return settled[np.lexsort((-settled[:, 2], settled[:, 1]))]\n",
        "    return settled\n",
        ("tests/observe/test_trace.py",),
    ),
    Bug(
        "the-gpu-s-clock-is-taken-for-ours",
        "speedyzero/observe/kernel_activity.py",
        '    offset_ns = document["marked_ns"] - round((marker["ts"] + marker["dur"] / 2) * 1000) - begin_ns\n',
        "    offset_ns = -begin_ns\n",
        ("tests/observe/test_kernel_activity.py",),
    ),
    Bug(
        "a-warning-every-time",
        "speedyzero/supervisor/alarms.py",
        "            self._said.add(what)\n",
        "            pass\n",
        ("tests/supervisor/test_alarms.py",),
    ),
    Bug(
        "the-progress-s-bottleneck-never-forgets",
        "speedyzero/supervisor/limit_now.py",
        "            self._samples.popleft()\n",
        "            break\n",
        ("tests/supervisor/test_limit_now.py",),
    ),
)
