"""A run of three roles in virtual time: pacing, rings and polling as they are, steps of any length, no clock.

Its trace is a profile like any other, and it can be run again with one role at twice the speed: whichever role that
helps the most is the bottleneck, by definition.
"""

import heapq
from dataclasses import dataclass, field

import numpy as np

from speedyzero.config import ActorConfig, Config, ScheduleConfig
from speedyzero.config.documents import config_document
from speedyzero.topology.pacing import Pacing
from speedyzero.topology.records import SPAN_NAMES
from speedyzero.tracing.trace import Trace, Track, settled_spans

ACTOR, REANALYZER, LEARNER = ROLES = ("actor-0", "reanalyzer-0", "learner-0")
WAITS_ON = {
    ACTOR: {"wait_pacing": [LEARNER], "wait_space": [REANALYZER]},
    REANALYZER: {"wait_space": [LEARNER], "wait_input": [ACTOR]},
    LEARNER: {"wait_pacing": [ACTOR], "wait_input": [REANALYZER], "wait_space": [REANALYZER]},
}
POLL_US = 5_000
ENVS, BATCHES_HELD = 8, 2


@dataclass
class SimulatedRun:
    """step_us: by role, of one step. slack: env steps, as schedule.pacing_slack_env_steps."""

    step_us: dict[str, int]
    slack: int = 0
    train_steps: int = 150
    now_us: int = 0
    env_steps: int = 0
    trained: int = 0
    batches: int = 0
    spans: dict[str, list[list[int]]] = field(default_factory=lambda: {role: [] for role in ROLES})

    def __post_init__(self):
        schedule = ScheduleConfig(
            env_steps=self.train_steps * 2,
            train_steps=self.train_steps,
            frozen_train_steps=0,
            head_start_env_steps=0,
            pacing_slack_env_steps=self.slack,
        )
        self._pacing = Pacing(schedule, tick_env_steps=ENVS)
        self._queue = [(0, place, role, False) for place, role in enumerate(ROLES)]
        while self.trained < self.train_steps:
            self.now_us, place, role, is_done = heapq.heappop(self._queue)
            if is_done:
                self._deliver(role)
            wait = self._wait_of(role)
            length_us = POLL_US if wait else self.step_us[role]
            self._tell(role, wait or "step", length_us)
            if not wait and role == LEARNER:
                self.batches -= 1
            heapq.heappush(self._queue, (self.now_us + length_us, place, role, not wait))

    @property
    def trace(self) -> Trace:
        end_ns = self.now_us * 1000
        tracks = [
            Track(
                name=role,
                spans=settled_spans(np.array(self.spans[role], np.int64).reshape(-1, 4), 0),
                covered=[(0, end_ns)],
            )
            for role in ROLES
        ]
        return Trace(
            inline=False,
            end_ns=end_ns,
            learning_ns=0,
            tracks=tracks,
            samples={},
            waits_on=WAITS_ON,
            cores=8,
            machine_cpu_s=0.0,
            settings=config_document(Config(actor=ActorConfig(envs=ENVS))),
        )

    def _wait_of(self, role: str) -> str:
        """What it waits for now; empty: it can step."""
        if role == ACTOR:
            may = self._pacing.may_play(env_steps=self.env_steps, train_steps=self.trained)
            return "" if may else "wait_pacing"
        if role == REANALYZER:
            return "" if self.batches < BATCHES_HELD else "wait_space"
        if not self._pacing.may_train(env_steps=self.env_steps, train_steps=self.trained):
            return "wait_pacing"
        return "" if self.batches else "wait_input"

    def _deliver(self, role: str) -> None:
        if role == ACTOR:
            self.env_steps += ENVS
        elif role == REANALYZER:
            self.batches += 1
        else:
            self.trained += 1

    def _tell(self, role: str, name: str, length_us: int) -> None:
        """A wait that continues is one span."""
        spans, number = self.spans[role], SPAN_NAMES.index(name)
        if name != "step" and spans and spans[-1][0] == number:
            spans[-1][2] += length_us * 1000
        else:
            spans.append([number, self.now_us * 1000, length_us * 1000, 0])


def speedups(step_us: dict[str, int], **settings: int) -> dict[str, float]:
    """How many times as fast the run is with one role at twice its speed, by role."""
    whole_us = SimulatedRun(step_us, **settings).now_us
    return {role: whole_us / SimulatedRun({**step_us, role: step_us[role] // 2}, **settings).now_us for role in step_us}
