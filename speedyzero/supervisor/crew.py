"""The role processes of one run: start, monitor and end them.

A dead actor or reanalyzer is replaced (the replacement takes over rings and shard as they are). A learner's death ends
its group and the run restarts from its last checkpoint, if there is one; divergence instead ends the run with the
traceback. All processes die with the supervisor. A process without a sign of life, starting or working, is killed and
counts as dead: a stopped process has no heartbeat, a stuck role completes no rounds (learners wait for one another, so
the rounds of any learner count for all).
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from speedyzero.actor import process as actor_process
from speedyzero.config import Config
from speedyzero.learner import process as learner_process
from speedyzero.nodes.launch import ALONE, Launch
from speedyzero.reanalyze import process as reanalyze_process
from speedyzero.runtime.fork_server import ForkServer, NotStarted
from speedyzero.runtime.role_process import DIVERGED, DONE, WORKING, ProcessSpec, ResumePoint, crash_file
from speedyzero.runtime.wiring import LEARNER, SUPERVISOR, Wiring, actor_name, learner_name, reanalyzer_name
from speedyzero.shm import Board
from speedyzero.supervisor.child import Child, Progress

STOP_DEADLINE_S = 10.0
HURRY, AT_ONCE = 2, 3  # interruptions: wait only for the learners; wait for nobody
_MAX_POLL_GAP_S = 1.0  # a longer gap between two polls: the supervisor was stopped (Ctrl-Z) or starved
_GROUP_DEATH_S = 1.0  # for the other learners to notice a death and exit
_TICK_S = 0.02
COLD_TRAIN_STEPS = 8  # eager steps, the graph capture, and batches that a predecessor left in a ring


class RunFailed(RuntimeError):
    """A run that cannot continue; the message names the process and carries its traceback."""


class LearnerGroupDied(RunFailed):
    """The learner group died: its state is lost, but the run may restart from the last checkpoint."""


class Crew:
    def __init__(
        self,
        config: Config,
        wiring: Wiring,
        run_dir: Path,
        board: Board,
        server: ForkServer,
        *,
        note: Callable[[str], None],
        resume: ResumePoint | None = None,
        launch: Launch = ALONE,
    ):
        self._board, self._run_dir, self._note, self._server = board, run_dir, note, server
        self._limits, self._nodes = config.supervisor, launch.share.nodes
        self.row = board.row(SUPERVISOR)
        self._looked_s = time.monotonic()
        threads = threads_per_process(config, len(wiring.processes))

        def children(count: int, name: Callable[[int], str], target: Callable[..., None]) -> list[Child]:
            specs = (
                ProcessSpec(name(i), config, wiring, run_dir, wiring.devices[name(i)], threads, resume, launch)
                for i in range(count)
            )
            return [Child(spec, target, (i,)) for i, spec in enumerate(specs)]

        placement = wiring.placement
        self.learners = children(len(placement.learners), learner_name, learner_process.main)
        self.children = [
            *self.learners,
            *children(len(placement.shards), reanalyzer_name, reanalyze_process.main),
            *children(len(placement.actors), actor_name, actor_process.main),
        ]

    def start(self, *, interrupted: Callable[[], bool]) -> None:
        """Start all processes and wait until all work. Raises RunFailed at the deadline, naming those that do not."""
        with _as_group_death("no process can be started"):
            if not self._server.ready(interrupted=interrupted):
                return
        for child in self.children:
            self._begin(child)
        deadline_s = time.monotonic() + self._limits.start_s
        while waited_for := [child for child in self.children if not self.works(child)]:
            if interrupted():
                return
            if time.monotonic() > deadline_s and not all(map(self._awaits_nodes, waited_for)):
                names = ", ".join(child.spec.name for child in waited_for)
                raise RunFailed(f"still starting after supervisor.start_s={self._limits.start_s:g}: {names}")
            self.look_after()
            time.sleep(_TICK_S)

    @property
    def learner_done(self) -> bool:
        return all(self._board.state(child.spec.name) == DONE for child in self.learners)

    def look_after(self) -> None:
        """Check every process once and replace dead ones. Raises RunFailed for a dead learner or too many deaths."""
        now_s = time.monotonic()
        passed_s, self._looked_s = min(now_s - self._looked_s, _MAX_POLL_GAP_S), now_s
        for child in self.children:
            if self._board.state(child.spec.name) == DONE:
                continue
            self._kill_if_hung(child, passed_s)
            if not child.alive:
                self._replace(child)

    def stop(self, *, interruptions: Callable[[], int]) -> None:
        """Request a stop, kill processes that are still starting, wait, and kill the rest at the deadline."""
        self.row.request_stop()
        for child in self.children:
            if child.alive and not self.works(child):
                child.kill()
        deadline_s = time.monotonic() + STOP_DEADLINE_S
        while any(child.alive for child in self.children) and time.monotonic() < deadline_s:
            if interruptions() >= AT_ONCE:
                break
            if interruptions() >= HURRY:
                _kill([child for child in self.children if child not in self.learners])
            if any(not child.alive and self._board.state(child.spec.name) != DONE for child in self.learners):
                _kill(self.learners)  # they would wait for the dead one
            time.sleep(_TICK_S)
        for child in self.children:
            if child.alive:
                if self._board.state(child.spec.name) != DONE:  # else only its exit is slow
                    self._note(f"{child.spec.name} did not end and is killed")
                child.kill()
            if crash_file(self._run_dir, child.spec.name).exists():  # such as a failed save of the weights
                self._note(f"{child.spec.name} died while it stopped, {child.take_report()}")

    def kill(self) -> None:
        """Kill every process that is left."""
        _kill(self.children)

    def works(self, child: Child) -> bool:
        """Whether this process, not its predecessor, has reported WORKING or DONE."""
        return self._has_begun(child) and self._board.state(child.spec.name) in (WORKING, DONE)

    def _has_begun(self, child: Child) -> bool:
        """Whether this process, not its predecessor, holds its row of the board."""
        holder = self._board.process(child.spec.name)
        return child.process is not None and holder is not None and holder.pid == child.process.pid

    def _awaits_nodes(self, child: Child) -> bool:
        """Whether a learner waits for those of other nodes, whose supervisors judge them (`nodes/watch.py`)."""
        return self._nodes > 1 and bool(self._board.counter(child.spec.name, "awaits_group"))

    def _is_warm(self, child: Child) -> bool:
        """Whether process and run are past their first steps, which compile kernels and capture graphs."""
        name, board = child.spec.name, self._board
        trained = board.counter(LEARNER, "train_steps") - child.began_at.train_steps
        has_worked = board.counter(name, "busy_ns") > child.began_at.busy_ns
        return self.works(child) and has_worked and trained >= COLD_TRAIN_STEPS

    def _replace(self, child: Child) -> None:
        name = child.spec.name
        if child in self.learners:
            why = self._group_death()
            diverged = any(one.process is not None and one.process.exit_code == DIVERGED for one in self.learners)
            raise RunFailed(why) if diverged else LearnerGroupDied(why)
        report = child.take_report()
        child.reports.append(report)
        if child.restarts >= self._limits.max_restarts:
            raise RunFailed(f"{name} died {len(child.reports)} times, at first {child.reports[0]}")
        child.restarts += 1
        self.row.add("restarts")
        self._note(f"{name} died and is replaced ({child.restarts} of {self._limits.max_restarts}), {report}")
        self._begin(child)

    def _begin(self, child: Child) -> None:
        with _as_group_death(f"{child.spec.name} cannot be started"):
            child.start(self._server, Progress.of(self._board, child.spec.name))

    def _group_death(self) -> str:
        """Why the learners died: one by itself, the others perhaps because of it."""
        deadline_s = time.monotonic() + _GROUP_DEATH_S
        while any(child.alive for child in self.learners) and time.monotonic() < deadline_s:
            time.sleep(_TICK_S)
        dead = [child for child in self.learners if not child.alive]
        # A killed process left no file and died before those that then found a closed connection.
        files = {child.spec.name: crash_file(self._run_dir, child.spec.name) for child in dead}
        written_ns = {name: path.stat().st_mtime_ns if path.exists() else 0 for name, path in files.items()}
        dead.sort(key=lambda child: written_ns[child.spec.name])
        return "\n".join(f"{child.spec.name} died {child.take_report()}" for child in dead)

    def _kill_if_hung(self, child: Child, passed_s: float) -> None:
        """passed_s: since the last check, without time in which the supervisor was stopped."""
        name, board = child.spec.name, self._board
        watched = self.learners if child in self.learners else [child]
        has_begun, works = self._has_begun(child), self.works(child)
        # Taking the row and reaching WORKING are signs of life, too: a slow start is no silence.
        silent_s = child.pulse.look((has_begun, board.heartbeat_ns(name)), passed_s)
        stuck_s = child.rounds.look((works, [board.counter(one.spec.name, "rounds") for one in watched]), passed_s)
        may_be_silent_s = self._limits.silent_s if has_begun else self._limits.start_s
        may_be_stuck_s = self._limits.hang_s if self._is_warm(child) else self._limits.start_s
        if child.alive and silent_s > may_be_silent_s:
            self._note(f"{name} has shown no sign of life for {silent_s:.0f} s and is killed")
            child.kill()
        elif child.alive and stuck_s > may_be_stuck_s and not self._awaits_nodes(child):
            self._note(f"{name} lives but has been stuck for {stuck_s:.0f} s and is killed")
            child.kill()


@contextmanager
def _as_group_death(what: str) -> Iterator[None]:
    """Without the fork server the run cannot continue, but it may restart from the last checkpoint."""
    try:
        yield
    except NotStarted as error:
        raise LearnerGroupDied(f"{what}: {error}") from error


def _kill(children: Sequence[Child]) -> None:
    for child in children:
        if child.alive:
            child.kill()


def threads_per_process(config: Config, processes: int) -> int:
    """Torch threads of each role: `cpu_threads`, or as many as do not oversubscribe the cores."""
    if config.cpu_threads:
        return config.cpu_threads
    return max(1, len(os.sched_getaffinity(0)) // processes)
