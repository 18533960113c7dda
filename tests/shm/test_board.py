import pytest

from speedyzero.shm import Board, BoardSpec, SegmentError
from speedyzero.shm.board import CLAIM
from speedyzero.shm.liveness import current_process, process_of

SPEC = BoardSpec("board", ("supervisor", "actor-0", "actor-1"), ("env_steps", "drops", "lag"))


def test_each_entry_stands_alone(run):
    board, other = Board.create(run, SPEC), Board.attach(run, SPEC)
    rows = [board.row(name) for name in SPEC.rows]
    for i, row in enumerate(rows):
        row.add("env_steps", 8 + i)
        row.add("env_steps")
        row.set_counter("drops", 2**64 - 1 - i)
    counters = [[other.counter(row, counter) for counter in SPEC.counters] for row in SPEC.rows]
    assert counters == [[9, 2**64 - 1, 0], [10, 2**64 - 2, 0], [11, 2**64 - 3, 0]]
    assert other.total("env_steps") == 30


def test_rows_are_whole_cache_lines():
    assert SPEC.row_words == 16 and BoardSpec("b", ("a",)).row_words == 8
    assert SPEC.word_of("actor-1", "lag") == 2 * 16 + 8 + 2


def test_liveness_state_and_stop(run):
    board = Board.create(run, SPEC)
    assert board.heartbeat_age_s("actor-0") is None and board.process("actor-0") is None
    row = board.row("actor-0")
    row.beat()
    row.set_state(3)
    assert 0 <= board.heartbeat_age_s("actor-0") < 60 and board.heartbeat_age_s("actor-1") is None
    assert board.process("actor-0") == current_process() and board.state("actor-0") == 3
    assert not board.stop_requested()
    board.row("supervisor").request_stop()
    assert board.stop_requested()
    with pytest.raises(AssertionError, match="owner"):
        row.request_stop()


def test_a_successor_goes_on_counting(run):
    board = Board.create(run, SPEC)
    board.row("actor-0").add("env_steps", 5)
    dead = process_of(1)
    start = SPEC.start_of("actor-0") + CLAIM
    board.words[start], board.words[start + 1] = dead.pid, dead.start_ticks
    with pytest.raises(ValueError, match="row actor-0 of board board has one writer"):
        board.row("actor-0")
    board.words[start + 1] += 1
    board.row("actor-0").add("env_steps", 1)
    assert board.counter("actor-0", "env_steps") == 6


def test_what_does_not_fit(run):
    Board.create(run, SPEC)
    with pytest.raises(SegmentError):
        Board.attach(run, BoardSpec("board", SPEC.rows, ("drops", "env_steps", "lag")))
    for row, counter in (("actor-0", "steps"), ("actor-2", "lag")):
        with pytest.raises(ValueError):
            SPEC.word_of(row, counter)
