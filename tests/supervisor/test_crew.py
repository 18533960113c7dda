"""The crew over real processes whose roles are made up: hangs, exceptions, interruptions."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest

from speedyzero.arguments.resolve import resolve
from speedyzero.runtime.fork_server import ForkServer
from speedyzero.shm import remove_run
from speedyzero.supervisor import crew as crew_module
from speedyzero.supervisor.child import Progress
from speedyzero.supervisor.crew import Crew, LearnerGroupDied, RunFailed
from speedyzero.supervisor.gauges import Gauges
from speedyzero.supervisor.process import create_shared
from speedyzero.supervisor.space import wire_where_it_fits
from speedyzero.system.host_figures import own_memory_bytes
from tests.supervisor import roles

LIMIT_S = 120.0


@pytest.fixture(scope="module")
def fork_server() -> Iterator[ForkServer]:
    with ForkServer(["tests.supervisor.roles"]) as server:
        yield server


@pytest.fixture
def make_crew(tmp_path, fork_server) -> Iterator[Callable[..., Crew]]:
    """A crew of a learner, a reanalyzer and an actor that idle, with its notes in `crew.notes`."""
    made = []

    def make(*settings: str) -> Crew:
        config = resolve("catch", "Catch", 0, 0, str(tmp_path / "run"), list(settings))
        wiring = wire_where_it_fits(config)
        notes: list[str] = []
        crew = Crew(config, wiring, tmp_path, create_shared(wiring), fork_server, note=notes.append)
        crew.notes, crew.wiring = notes, wiring
        made.append((crew, wiring.run))
        for child in crew.children:
            child.target = roles.idle
        return crew

    yield make
    for crew, run in made:
        crew.stop(interruptions=lambda: crew_module.AT_ONCE)
        remove_run(run)


def look_until(crew: Crew, condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline_s
        crew.look_after()
        time.sleep(0.01)


def test_the_hung_are_replaced_and_a_supervisor_that_was_away_blames_nobody(make_crew):
    crew = make_crew("supervisor.silent_s=4")
    learner, reanalyzer, actor = crew.children
    crew.start(interrupted=lambda: False)
    os.kill(actor.process.pid, signal.SIGSTOP)  # Ctrl-Z: everybody stops, the supervisor too, for a long time
    for _ in range(2):
        crew.look_after()
    crew._looked_s -= 1000.0
    crew.look_after()
    os.kill(actor.process.pid, signal.SIGCONT)
    assert [child.restarts for child in crew.children] == [0, 0, 0]
    stopped = actor.process.pid
    os.kill(stopped, signal.SIGSTOP)
    look_until(crew, lambda: actor.restarts == 1 and crew.works(actor))
    assert actor.process.pid != stopped and not os.path.exists(f"/proc/{stopped}")
    assert learner.restarts == reanalyzer.restarts == 0
    assert any("actor-0 has shown no sign of life for 4 s" in note for note in crew.notes)
    assert any("actor-0 died and is replaced (1 of 5), by signal SIGKILL" in note for note in crew.notes)
    os.kill(learner.process.pid, signal.SIGSTOP)
    with pytest.raises(RunFailed, match="learner-0 died by signal SIGKILL"):
        look_until(crew, lambda: False)


def test_a_long_start_is_no_long_silence(make_crew):
    """On a busy machine a process may take longer to start than it may later be silent."""
    crew = make_crew("supervisor.silent_s=3", "supervisor.hang_s=3")
    actor = crew.children[2]
    crew.children, crew.learners = [actor], []
    actor.target, actor.arguments = roles.begin_slowly, (4.0,)
    crew.start(interrupted=lambda: False)
    look_until(crew, lambda: crew._board.counter("actor-0", "rounds") > 3)
    assert actor.restarts == 0 and crew.notes == []


def test_a_first_step_that_compiles_is_no_hang_and_a_later_one_that_takes_as_long_is(make_crew):
    crew = make_crew("supervisor.hang_s=1.5")
    learner = crew.learners[0]
    crew.children = [learner]
    learner.target, learner.arguments = roles.compile_at_first, (4.0,)
    crew.start(interrupted=lambda: False)
    look_until(crew, lambda: crew._board.counter("learner-0", "train_steps") == crew_module.COLD_TRAIN_STEPS)
    assert crew.notes == []
    with pytest.raises(LearnerGroupDied, match="learner-0 died by signal SIGKILL"):
        look_until(crew, lambda: False)
    assert crew.notes == ["learner-0 lives but has been stuck for 2 s and is killed"]


def test_a_learner_that_waits_for_other_nodes_is_not_stuck(make_crew):
    crew = make_crew("supervisor.start_s=3")
    learner = crew.learners[0]
    crew.children, crew._nodes = [learner], 2
    learner.target = roles.wait_for_others
    crew.start(interrupted=lambda: False)
    look_until(crew, lambda: learner.rounds.for_s > 4)
    assert crew.notes == []
    crew._nodes = 1
    with pytest.raises(LearnerGroupDied, match="learner-0 died by signal SIGKILL"):
        look_until(crew, lambda: False)
    assert "learner-0 lives but has been stuck" in crew.notes[0]


def test_one_that_keeps_crashing_ends_the_run_with_its_first_traceback(make_crew):
    crew = make_crew("supervisor.max_restarts=1")
    actor = crew.children[2]
    crew.children = [actor]
    actor.target, actor.arguments = roles.crash, ("the first reason",)
    actor.start(crew._server, Progress())
    actor.arguments = ("a later reason",)
    with pytest.raises(RunFailed) as failure:
        look_until(crew, lambda: False)
    message = str(failure.value)
    assert "actor-0 died 2 times, at first of an exception" in message
    assert "ArithmeticError: the first reason" in message and "in crash" in message and "later" not in message
    assert crew.notes[0].startswith("actor-0 died and is replaced (1 of 1)")


@pytest.mark.parametrize(("role", "may_go_on"), [(roles.crash, True), (roles.diverge, False)])
def test_a_learner_s_death_may_be_resumed_from_but_no_divergence(make_crew, role, may_go_on):
    crew = make_crew()
    learner = crew.learners[0]
    crew.children = [learner]
    learner.target, learner.arguments = role, ("no finite loss",)
    learner.start(crew._server, Progress())
    with pytest.raises(RunFailed, match="Error: no finite loss") as failure:
        look_until(crew, lambda: False)
    assert isinstance(failure.value, LearnerGroupDied) == may_go_on


def test_a_fork_server_s_death_is_the_learners_and_told_as_such(make_crew, fork_server):
    crew = make_crew()
    crew.start(interrupted=lambda: False)
    os.kill(fork_server.pid, signal.SIGKILL)
    with pytest.raises(LearnerGroupDied, match="learner-0 died with the fork server, which was killed"):
        look_until(crew, lambda: False)
    again = make_crew()
    again.start(interrupted=lambda: False)
    assert all(again.works(child) for child in again.children)


def test_memory_is_told_without_what_a_role_was_forked_with(make_crew, fork_server):
    crew = make_crew()
    crew.start(interrupted=lambda: False)
    written: dict[str, float] = {}
    metrics = SimpleNamespace(write=lambda name, value, step: written.update({name: value}))
    alarms = SimpleNamespace(on_memory=lambda own_bytes, train_steps: None, on_lag=lambda *_, env_steps: None)
    inherited = own_memory_bytes(fork_server.pid)
    Gauges(crew.wiring, crew._board, metrics, alarms, fork_server, interval_s=10.0, env_steps=int).record()
    at_once = own_memory_bytes(crew.children[2].process.pid)
    assert at_once >= 0.9 * inherited > 50 * 2**20, "forked pages count as the child's"
    assert 0 <= written["memory/actor-0_mib"] < 0.5 * inherited / 2**20


def test_who_never_begins_to_work_is_given_up(make_crew):
    crew = make_crew("supervisor.start_s=0.001")
    with pytest.raises(
        RunFailed, match="still starting after supervisor.start_s=0.001: learner-0, reanalyzer-0, actor-0"
    ):
        crew.start(interrupted=lambda: False)


def test_stop_ends_the_willing_and_kills_the_stopped(make_crew, monkeypatch):
    monkeypatch.setattr(crew_module, "STOP_DEADLINE_S", 5.0)
    crew = make_crew()
    learner, reanalyzer, actor = crew.children
    crew.start(interrupted=lambda: False)
    os.kill(actor.process.pid, signal.SIGSTOP)
    for child in crew.children:
        os.kill(child.process.pid, signal.SIGINT)  # not theirs to hear
        os.kill(child.process.pid, signal.SIGTERM)
    crew.look_after()
    crew.stop(interruptions=lambda: 1)
    assert [child.process.exit_code for child in (learner, reanalyzer, actor)] == [0, 0, -signal.SIGKILL]
    assert crew.notes == ["actor-0 did not end and is killed"]


def test_the_second_interruption_waits_for_the_learner_alone(make_crew):
    crew = make_crew()
    learner, reanalyzer, actor = crew.children
    crew.start(interrupted=lambda: False)
    for child in (reanalyzer, actor):
        os.kill(child.process.pid, signal.SIGSTOP)
    crew.stop(interruptions=lambda: crew_module.HURRY)
    assert [child.process.exit_code for child in (learner, reanalyzer, actor)] == [0, -signal.SIGKILL, -signal.SIGKILL]
