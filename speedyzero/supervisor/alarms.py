"""Warnings during a run: skipped batches, old policies, no reward, growing memory, a collapsed consistency loss.

Each is printed at most once, with the number, the bound and where to look. None of them ends the run.
"""

import time
from collections.abc import Callable, Sequence

from speedyzero.config import Config
from speedyzero.learner.learner import MAX_BAD_BATCHES
from speedyzero.system.host_figures import own_memory_bytes
from speedyzero.topology.pacing import Pacing, slack_env_steps
from speedyzero.topology.records import MetricRecord

GAMES_WITHOUT_REWARD = 20  # least number before a warning; SETTLED must have passed, too
SETTLED = 0.1  # share of the train steps; by then caches, tables and compiled code have their size
GROWTH, LEAST_GROWTH_BYTES = 1.5, 512 * 2**20  # both must be exceeded: a small run may double
LOOK_EVERY_S = 10.0
ALIKE = 0.9  # mean cosine of projections of different positions; with batch norm it is near 0


class Alarms:
    def __init__(self, config: Config, note: Callable[[str], None], *, clock: Callable[[], float] = time.monotonic):
        self._note, self._clock = note, clock
        self._reported: set[str] = set()
        schedule, pacing = config.schedule, Pacing.of(config)
        self._total_steps, self._env_steps = schedule.total_train_steps, schedule.env_steps
        played = max(1, schedule.env_steps - schedule.head_start_env_steps)
        ahead = pacing.tick_env_steps + slack_env_steps(schedule, pacing.tick_env_steps)
        # Weights are an interval old when new ones come; during a tick the learner may train on by the slack.
        self.lag_bound = 2 * config.publish_interval + 2 * ahead * schedule.train_steps // played
        self._games, self._rewarded = 0, False
        self._first_step: int | None = None
        self._settled_bytes = 0
        self._looked_s = -float("inf")

    def on_metric(self, record: MetricRecord) -> None:
        if record.name == "learner/bad_batches":
            self._say(
                "bad batch",
                f"a batch without a finite loss was skipped at train step {record.step}; {MAX_BAD_BATCHES} in a row "
                "end the run (learner/bad_batches)",
            )
        if (
            record.name == "learner/projection_similarity"
            and record.value > ALIKE
            and record.step >= self._total_steps * SETTLED
        ):
            self._say(
                "collapse",
                f"at train step {record.step} different positions project alike: mean cosine {record.value:.3f}, above "
                f"{ALIKE}: the consistency loss has collapsed and teaches nothing (learner/projection_similarity)",
            )
        if record.name == "actor/game_score":
            self._games += 1
            self._rewarded |= record.value != 0
            if (
                not self._rewarded
                and self._games >= GAMES_WITHOUT_REWARD
                and record.step >= self._total_steps * SETTLED
            ):
                self._say(
                    "no reward",
                    f"all {self._games} games so far scored 0, at train step {record.step}: there is nothing to learn "
                    "from yet (actor/game_score)",
                )

    def on_lag(self, process: str, lag: int, *, env_steps: int) -> None:
        """lag: train steps that an actor's weights are behind. Ignored once all env steps are played."""
        if lag > self.lag_bound and env_steps < self._env_steps:
            self._say(
                "lag",
                f"{process} plays by weights {lag} train steps old, the bound is {self.lag_bound}: it reads new ones "
                f"too rarely (lag/{process}, learner.publish_interval_samples)",
            )

    def on_memory(self, own_bytes: int, *, train_steps: int) -> None:
        """own_bytes: of all processes of the run, shared memory excluded."""
        if self._first_step is None:
            self._first_step = train_steps
        settled_at = self._first_step + SETTLED * (self._total_steps - self._first_step)
        if not self._settled_bytes and train_steps >= max(1.0, settled_at):
            self._settled_bytes = own_bytes
        grown = own_bytes - self._settled_bytes
        if self._settled_bytes and grown > LEAST_GROWTH_BYTES and own_bytes > GROWTH * self._settled_bytes:
            self._say(
                "memory",
                f"memory grows: {own_bytes / 2**20:.0f} MiB at train step {train_steps}, it was "
                f"{self._settled_bytes / 2**20:.0f} MiB once the run had settled (memory/PROCESS_mib)",
            )

    def look_at_memory(self, pids: Sequence[int], *, train_steps: int) -> None:
        """Poll memory every LOOK_EVERY_S, for inline runs: they have no gauges."""
        if self._clock() - self._looked_s >= LOOK_EVERY_S:
            self._looked_s = self._clock()
            self.on_memory(sum(own_memory_bytes(pid) or 0 for pid in pids), train_steps=train_steps)

    def _say(self, what: str, line: str) -> None:
        if what not in self._reported:
            self._reported.add(what)
            self._note(f"warning: {line}")
