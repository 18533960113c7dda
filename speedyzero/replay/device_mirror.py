"""A copy of a shard's frames on a GPU: each row is transferred once, and batches are gathered on the device.

    append -> ticks (the commit) ... follow(): rows of new ticks -> staging ring -> frame, first on the device
                                     stacks(), unrolled(): follow, then kernels.stack_gather

Each process that reads a shard on a GPU (learner, reanalyzer) has its own mirror, with room for all rows that the run
can fill: 2 x 2.8 GB on a GPU that hosts both, for 100,000 frames of 96x96 in colour. A gather calls `follow` first, so
it sees every row committed before it; calling `follow` alone only does that work earlier. Copies run on a side stream.
They wait for earlier gathers, whose rows they may overwrite, and gathers wait for earlier copies.

**No requested position is ever torn.** The writer continues while rows are copied, and rows that it overwrites
meanwhile are torn or too new. Let h be the ticks after the copy: the writer has written steps below h, and may be
writing h. So a row just copied is intact if its step is above h - T. (A row copied earlier stays intact until this
mirror overwrites it.) A batch's positions were eligible when drawn, at a head h0: the oldest row of their stacks is at
least h0 - T + guard, and the guard is no less than the rows written while a batch is in flight (`shard.shard_shape`),
so h <= h0 + guard and the writer was not there. Rows that the writer did overwrite are copied again when committed.
Each gather still checks its positions against both bounds. `frame` and `first` are final once committed: cutting off a
dead actor's game changes other flags of the last row only (`Shard.cut_off`).

Only frames are mirrored. Drawing, eligibility and target assembly stay on the host: see `docs/results/gpu.md` for their
cost.

Axes: E lanes, T rows, B positions, S stacked frames, K unroll steps, C channels of a frame, H W image.
"""

import logging
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from kernels.stack_gather import stack_gather
from speedyzero.config import Config
from speedyzero.replay.frames import UNCHANGED, Augmentation, FrameSource, GatheredStacks, HostFrames
from speedyzero.replay.shard import Shard, ShardShape
from speedyzero.replay.staging import StagingRing, on_device
from speedyzero.system.current_device import require_current

SLOTS = 4
SLOT_BYTES = 2 * 2**20
log = logging.getLogger("speedyzero.replay")


class DeviceMirror:
    """A copy of a shard's frames, as network inputs (`FrameSource`)."""

    def __init__(
        self,
        shard: Shard,
        device: torch.device,
        *,
        dtype: torch.dtype = torch.float32,
        pad_channels_to: int = 1,
        slot_bytes: int = SLOT_BYTES,
    ):
        """dtype: of the inputs, float32 or bfloat16. pad_channels_to: channels are zero-padded to a multiple of it.

        Raises ValueError if frames are not images.
        """
        if not shard.shape.spec.is_image:
            raise ValueError(f"frames of shape {shard.shape.spec.shape} are no images: only images are mirrored")
        require_current(device)
        self._shard, self._device, self._dtype, self._pad_channels_to = shard, device, dtype, pad_channels_to
        self.frame = torch.empty(shard.frame.shape, dtype=torch.uint8, device=device)  # [E, T, H, W, C]
        self.first = torch.zeros(shard.first.shape, dtype=torch.bool, device=device)  # [E, T]
        self._row_bytes = self.frame[0, 0].numel() + 1  # a frame and its flag
        self._slot_rows = max(1, slot_bytes // self._row_bytes)
        self._ring = StagingRing(device, slot_bytes=self._slot_rows * self._row_bytes, slots=SLOTS)
        # By actor: steps below _seen are copied; those below _whole are overwritten or may be torn.
        self._seen = np.zeros(shard.shape.actors, np.int64)
        self._whole = np.zeros(shard.shape.actors, np.int64)

    def follow(self) -> None:
        """Start copying the rows committed since the last call."""
        shard = self._shard
        committed = shard.ticks.copy()  # read before the rows
        if (committed == self._seen).all():
            return
        began = np.maximum(self._seen, committed - shard.rows)
        for actor in np.flatnonzero(began < committed):
            lanes = shard.lanes_of(int(actor))
            self._copy(slice(lanes[0], lanes[-1] + 1), int(began[actor]), int(committed[actor]))
        overtaken = shard.ticks - shard.rows + 1  # read after the rows: the writer may have overwritten steps below
        torn = np.where(began < overtaken, overtaken, 0)
        self._whole = np.maximum(self._whole, np.maximum(committed - shard.rows, torn))
        self._seen = committed

    def stacks(self, lane: np.ndarray, step: np.ndarray) -> torch.Tensor:
        """[B, S*C, H, W], channels last, padded. Raises ValueError for positions that are not mirrored."""
        self.follow()
        self._require(lane, step, lookahead=0)
        self._ring.acquire()
        found = self._gather(*self._places(lane, step), following=0, augmentation=None)
        self._ring.release()
        return found

    def unrolled(
        self,
        lane: np.ndarray,
        step: np.ndarray,
        *,
        unroll_steps: int,
        root: Augmentation | None,
        following: Augmentation | None,
        every: int = 1,
    ) -> GatheredStacks:
        """See `FrameSource`. Raises ValueError for positions that are not mirrored."""
        self.follow()
        self._require(lane, step, lookahead=unroll_steps)
        places, fewer = self._places(lane, step), self._places(lane[::every], step[::every])
        self._ring.acquire()
        unrolled = GatheredStacks(
            self._gather(*places, following=0, augmentation=root),
            tuple(self._gather(*fewer, following=j, augmentation=following) for j in range(1, unroll_steps + 1)),
        )
        self._ring.release()
        return unrolled

    def _places(self, lane: np.ndarray, step: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        return on_device(lane, self._device), on_device(step, self._device)

    def _gather(
        self, lane: torch.Tensor, step: torch.Tensor, *, following: int, augmentation: Augmentation | None
    ) -> torch.Tensor:
        """The stack of unrolled state `following`."""
        how = augmentation or UNCHANGED
        return stack_gather(
            self.frame, self.first, lane, step,
            stack=self._shard.stack, following=following, skip=following, shift=how.shift, scale=how.scale,
            out_dtype=self._dtype, pad_channels_to=self._pad_channels_to,
        )  # fmt: skip

    def _require(self, lane: np.ndarray, step: np.ndarray, *, lookahead: int) -> None:
        actor = lane // (self._shard.lanes // self._shard.shape.actors)
        oldest = np.maximum(step - (self._shard.stack - 1), 0)
        missing = (oldest < self._whole[actor]) | (step + lookahead >= self._seen[actor])
        if missing.any():
            one = np.flatnonzero(missing)[0]
            raise ValueError(
                f"lane {lane[one]}, step {step[one]} reads rows {oldest[one]} to {step[one] + lookahead}, "
                f"but {self._whole[actor[one]]} to {self._seen[actor[one]] - 1} are mirrored"
            )

    def _copy(self, lanes: slice, begin: int, end: int) -> None:
        """Start copying the rows of steps [begin, end) of some lanes."""
        for lane, row in rectangles(lanes, begin, end, rows=self._shard.rows, most=self._slot_rows):
            frame, first = self.frame[lane, row], self.first[lane, row]
            slot, frames = self._ring.slot(), first.numel()
            pixels = slot[: frame.numel()].view(frame.shape)
            flags = slot[frame.numel() : frame.numel() + frames].view(torch.bool).view(first.shape)
            np.copyto(pixels.numpy(), self._shard.frame[lane, row])
            np.copyto(flags.numpy(), self._shard.first[lane, row])
            self._ring.send([(frame, pixels), (first, flags)])


def rectangles(lanes: slice, begin: int, end: int, *, rows: int, most: int) -> Iterator[tuple[slice, slice]]:
    """Split steps [begin, end), oldest first, into (lanes, rows) of at most `most` cells that do not wrap around."""
    count = lanes.stop - lanes.start
    high, wide = min(count, most), max(1, most // count)
    while begin < end:
        row = begin % rows
        width = min(wide, end - begin, rows - row)
        for lane in range(lanes.start, lanes.stop, high):
            yield slice(lane, min(lane + high, lanes.stop)), slice(row, row + width)
        begin += width


def mirror_bytes(shape: ShardShape) -> int:
    """Device memory of a mirror of such a shard."""
    return shape.lanes * shape.rows * (int(np.prod(shape.spec.shape)) + 1)


def frame_sources(
    config: Config,
    shards: Sequence[Shard],
    device: torch.device,
    *,
    dtype: torch.dtype = torch.float32,
    pad_channels_to: int = 1,
) -> list[FrameSource]:
    """A source for each shard, on `device`, by `replay.device_mirror`, which mirrors if nobody decided what was `auto`.

    dtype, pad_channels_to: of mirrors; the host gives unpadded float32. Raises ValueError if mirrors are impossible.
    """
    setting, shape = config.replay.device_mirror, shards[0].shape
    if device.type == "cuda" and setting == "on" and not shape.spec.is_image:
        raise ValueError(f"replay.device_mirror=on mirrors images, but {config.env.game} shows {shape.spec.shape}")
    if device.type != "cuda" or setting == "off" or not shape.spec.is_image:
        return [HostFrames(shard, device) for shard in shards]
    needed, (free, _) = len(shards) * mirror_bytes(shape), torch.cuda.mem_get_info(device)
    if needed > free:
        raise ValueError(
            f"replay.device_mirror={setting} takes {needed:,} bytes of GPU memory, {free:,} are free; use off, or a "
            "smaller replay.capacity_steps"
        )
    log.info("frames mirrored on %s: %.2f GB, %.2f GB free", device, needed / 1e9, free / 1e9)
    return [DeviceMirror(shard, device, dtype=dtype, pad_channels_to=pad_channels_to) for shard in shards]
