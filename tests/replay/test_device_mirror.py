"""The mirror beside the shard that it follows: at any pace, round the lanes' ends, while the writer continues."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from speedyzero.env.base import ObservationSpec
from speedyzero.model.observation import to_network_input
from speedyzero.replay import device_mirror, staging
from speedyzero.replay.device_mirror import DeviceMirror, mirror_bytes
from speedyzero.replay.frames import HostFrames
from speedyzero.replay.shard import Shard, ShardShape
from tests.refusal import refusal
from tests.replay.cuda_streams import Timeline
from tests.replay.episodes import blank_step

CPU = torch.device("cpu")
SPEC = ObservationSpec((3, 2, 2), np.dtype(np.uint8))
ROW_BYTES = 3 * 2 * 2 + 1
STACK, UNROLL, ROWS, ENVS = 3, 2, 20, 2


def make_shard(actors: int = 1, *, rows: int = ROWS) -> Shard:
    lookahead = UNROLL + 2
    return Shard(ShardShape(actors * ENVS, rows, SPEC, num_actions=2, stack=STACK, lookahead=lookahead, actors=actors))


def play(shard: Shard, rng: np.random.Generator, *, actor: int = 0, ticks: int = 1) -> None:
    """Noise, in which every fourth row or so begins an episode."""
    for _ in range(ticks):
        begins = (rng.random(ENVS) < 0.25) | (shard.ticks[actor] == 0)
        frame = rng.integers(256, size=(ENVS, *SPEC.shape), dtype=np.uint8)
        shard.append(blank_step(frame, num_actions=2, first=begins), actor=actor)


def make_mirror(shard: Shard, *, slot_rows: int = 7, **options) -> DeviceMirror:
    mirror = DeviceMirror(shard, CPU, slot_bytes=slot_rows * ROW_BYTES, **options)
    mirror.frame.fill_(0xA5)
    mirror.first.fill_(True)
    return mirror


def eligible(shard: Shard) -> tuple[np.ndarray, np.ndarray]:
    """Every position that may be sampled."""
    oldest, newest = shard.oldest_eligible(), shard.newest_eligible()
    places = [(lane, step) for lane in range(shard.lanes) for step in range(oldest[lane], newest[lane] + 1)]
    lane, step = np.array(places, np.int64).reshape(-1, 2).T.copy()
    return lane, step


def expect_alike(mirror: DeviceMirror, shard: Shard, lane: np.ndarray, step: np.ndarray) -> None:
    assert torch.equal(mirror.stacks(lane, step), to_network_input(torch.from_numpy(shard.gather_stacks(lane, step))))
    seen, expected = (
        frames.unrolled(lane, step, unroll_steps=UNROLL, root=None, following=None)
        for frames in (mirror, HostFrames(shard, CPU))
    )
    assert torch.equal(seen.root, expected.root) and len(seen.following) == UNROLL
    for one, other in zip(seen.following, expected.following, strict=True):
        assert torch.equal(one, other)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2 * ROWS), st.booleans()), min_size=1, max_size=8),
    st.integers(1, 40),
    st.integers(0, 2**16),
)
def test_whatever_the_pace_the_mirror_shows_what_the_shard_holds(turns, slot_rows, seed):
    """Three actors, followed now and then, from nothing at all to twice round the lanes at once."""
    shard, rng = make_shard(actors=3), np.random.default_rng(seed)
    mirror = make_mirror(shard, slot_rows=slot_rows)
    for actor, ticks, followed in turns:
        play(shard, rng, actor=actor, ticks=ticks)
        if ticks % 3 == 0:
            shard.cut_off(actor=actor)
        if followed:
            mirror.follow()
    lane, step = eligible(shard)
    expect_alike(mirror, shard, lane, step)


def test_each_row_crosses_once(monkeypatch):
    shard, rng = make_shard(actors=2), np.random.default_rng(0)
    mirror = make_mirror(shard)
    sent: list[int] = []
    monkeypatch.setattr(mirror._ring, "send", lambda copies: sent.append(copies[1][1].numel()))
    for actor, ticks in [(0, 5), (1, 12), (0, 1), (1, 0), (0, 30), (1, 8)]:
        play(shard, rng, actor=actor, ticks=ticks)
        mirror.follow()
        mirror.follow()
    assert sum(sent) == ENVS * (5 + 12 + 1 + ROWS + 8)  # of the 30 rows 10 are gone


def during_copies(mirror: DeviceMirror, todo: Callable[[], None]) -> None:
    """Do something whenever a slot is taken."""
    take = mirror._ring.slot

    def slot() -> torch.Tensor:
        todo()
        return take()

    mirror._ring.slot = slot


@settings(max_examples=60)
@given(st.integers(0, ROWS), st.integers(0, 3 * ROWS), st.integers(1, 3 * ROWS), st.integers(0, 2**16))
def test_a_writer_that_goes_on_while_rows_are_copied_spoils_nothing_that_is_asked_for(seen, before, slot_rows, seed):
    """It writes as many rows as the guard has, in the worst case, and is in the middle of another one."""
    shard, rng = make_shard(), np.random.default_rng(seed)
    mirror = make_mirror(shard, slot_rows=slot_rows)
    play(shard, rng, ticks=seen)
    mirror.follow()
    play(shard, rng, ticks=before)
    lane, step = eligible(shard)
    left = shard.shape.guard - 1

    def write() -> None:
        nonlocal left
        if left:
            play(shard, rng)
            left -= 1
        shard.frame[:, shard.head[0] % ROWS, 0] ^= 0xFF  # half a row
        shard.first[:, shard.head[0] % ROWS] ^= True

    during_copies(mirror, write)
    mirror.follow()
    if len(lane):
        expect_alike(mirror, shard, lane, step)
    during_copies(mirror, lambda: None)
    mirror.follow()
    left = 0
    lane, step = eligible(shard)
    expect_alike(mirror, shard, lane, step)


def test_what_is_not_mirrored_is_refused():
    shard, rng = make_shard(), np.random.default_rng(0)
    mirror = make_mirror(shard)

    def stacks(step: int) -> torch.Tensor:
        return mirror.stacks(np.array([1]), np.array([step]))

    play(shard, rng, ticks=30)
    stacks(29)
    stacks(13)
    # The writer may be in the middle of row 30 already, which lies where row 10 did.
    assert "rows 28 to 30, but 11 to 29" in refusal(stacks, 30) and "rows 10 to 12, but 11 to 29" in refusal(stacks, 12)
    ahead = {"unroll_steps": 2, "root": None, "following": None}
    assert "rows 26 to 30, but 11 to 29" in refusal(mirror.unrolled, np.array([0]), np.array([28]), **ahead)
    play(shard, rng)
    assert len(stacks(30)) == 1  # a gather follows first
    play(shard, rng, ticks=2)
    mirror.follow()
    stacks(15)  # row 13 was copied long ago: it stays until it is overwritten here
    assert "rows 12 to 14, but 13 to 32" in refusal(stacks, 14)


def test_what_the_writer_overtook_while_it_was_copied_is_refused():
    shard, rng = make_shard(), np.random.default_rng(0)
    mirror = make_mirror(shard, slot_rows=100)
    play(shard, rng, ticks=30)
    during_copies(mirror, lambda: play(shard, rng, ticks=2))
    mirror.follow()  # rows 10 to 29 in two slots; 10 to 13 were overwritten, and 14 may be under way
    lane = np.array([0])
    assert "rows 14 to 16, but 15 to 29" in refusal(mirror._require, lane, np.array([16]), lookahead=0)
    mirror._require(lane, np.array([17]), lookahead=0)


def test_channels_are_padded_and_typed():
    shard = make_shard()
    play(shard, np.random.default_rng(0), ticks=10)
    lane, step = eligible(shard)
    found = make_mirror(shard, pad_channels_to=4, dtype=torch.bfloat16).stacks(lane, step)
    assert found.shape == (len(lane), 8, 3, 2) and found.dtype == torch.bfloat16
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(found[:, :6], to_network_input(torch.from_numpy(shard.gather_stacks(lane, step))).bfloat16())
    assert not found[:, 6:].any()


def test_bytes_are_what_the_tensors_take():
    mirror = make_mirror(make_shard())
    assert mirror_bytes(make_shard().shape) == mirror.frame.nbytes + mirror.first.nbytes == 40 * ROW_BYTES


class StreamedMirror:
    """A mirror whose copies and gathers run on streams, when a schedule lets them."""

    def __init__(self, patch: pytest.MonkeyPatch, shard: Shard, schedule: np.random.Generator, *, slot_rows: int):
        self.shard = shard
        self.timeline = Timeline(lambda count: int(schedule.integers(count)))
        self.timeline.install(patch)
        patch.setattr(staging, "has_streams", lambda device: True)
        patch.setattr(device_mirror, "stack_gather", self._queued)
        self.mirror = DeviceMirror(shard, CPU, slot_bytes=slot_rows * ROW_BYTES)
        self.mirror.frame.fill_(0xA5)
        self._asked: list[tuple[torch.Tensor, torch.Tensor]] = []

    def _queued(self, *stored: torch.Tensor, stack: int, following: int, **options) -> torch.Tensor:
        lane, step = stored[2:]
        out = torch.full((len(lane), stack * 2, *SPEC.shape[:2]), torch.nan).to(memory_format=torch.channels_last)
        run = STACK_GATHER
        self.timeline.current.put(lambda: run(*stored, stack=stack, following=following, **options, out=out))
        return out

    def ask(self, *, unrolled: bool = False) -> None:
        """For every eligible position, and remember what it must be."""
        lane, step = eligible(self.shard)
        if not unrolled:
            expected = to_network_input(torch.from_numpy(self.shard.gather_stacks(lane, step)))
            self._asked.append((self.mirror.stacks(lane, step), expected))
            return
        found, window = (
            frames.unrolled(lane, step, unroll_steps=UNROLL, root=None, following=None)
            for frames in (self.mirror, HostFrames(self.shard, CPU))
        )
        self._asked += zip((found.root, *found.following), (window.root, *window.following), strict=True)

    def check(self) -> None:
        self.timeline.run_all()
        for found, expected in self._asked:
            assert torch.equal(found, expected)


STACK_GATHER = device_mirror.stack_gather
KINDS = ("stacks", "unrolled")


@settings(max_examples=120)
@given(
    st.lists(
        st.tuples(st.integers(1, ROWS), st.integers(0, 30), st.sampled_from([None, *KINDS])), min_size=2, max_size=8
    ),
    st.sampled_from(KINDS),
    st.integers(1, 12),
    st.integers(0, 2**16),
)
def test_in_whatever_order_the_device_gets_to_it(turns, last, slot_rows, seed):
    """Play, let the device do some of its work, ask for everything: rows are overwritten again and again."""
    shard, rng = make_shard(), np.random.default_rng(seed)
    with pytest.MonkeyPatch.context() as patch:
        streamed = StreamedMirror(patch, shard, rng, slot_rows=slot_rows)
        play(shard, rng, ticks=8)
        for ticks, work, asked in turns:
            play(shard, rng, ticks=ticks)
            streamed.mirror.follow()
            streamed.timeline.some(work)
            if asked:
                streamed.ask(unrolled=asked == "unrolled")
        streamed.ask(unrolled=last == "unrolled")
        streamed.check()


def test_a_few_rows_are_sent_without_waiting_for_the_device(monkeypatch):
    shard, rng = make_shard(), np.random.default_rng(0)
    streamed = StreamedMirror(monkeypatch, shard, rng, slot_rows=2)
    play(shard, rng, ticks=3 * ROWS)
    streamed.ask()
    streamed.check()
    streamed.timeline.host_waits = 0
    for _ in range(device_mirror.SLOTS):  # while the device does nothing
        play(shard, rng)
        streamed.ask()
    assert streamed.timeline.host_waits == 0
    streamed.check()


@pytest.mark.parametrize("schedule", range(8))
def test_the_first_copies_wait_for_what_was_queued_before(monkeypatch, schedule):
    """The targets' memory may have been another tensor's, which the device has not done with."""
    rng = np.random.default_rng(schedule)
    timeline = Timeline(lambda count: int(rng.integers(count)))
    timeline.install(monkeypatch)
    monkeypatch.setattr(staging, "has_streams", lambda device: True)
    target = torch.zeros(4, dtype=torch.uint8)
    timeline.main.put(lambda: target.fill_(7))
    ring = staging.StagingRing(CPU, slot_bytes=4, slots=2)
    slot = ring.slot()
    slot.fill_(1)
    ring.send([(target, slot)])
    timeline.run_all()
    assert target.tolist() == [1, 1, 1, 1]
