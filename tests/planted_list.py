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

BUGS = (
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
)
