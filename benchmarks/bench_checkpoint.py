"""What whole checkpoints cost: the learner's pause, bytes, seconds to write and to resume; bytes a frame on disk.

A run of a game in one process plays its head start by random actions, so many positions, and then trains a few steps,
so that optimiser and memo hold something. (Of a full memo a checkpoint keeps 4 A + 40 bytes a position, A actions.) It
is saved twice: the second save adds what was played since. Times are of one save each, on this machine's disk.

    make bench NAME=checkpoint                                   # 10,000 positions of Pong, 96x96 in colour
    make bench NAME=checkpoint ARGS="--positions 10000 100000 --preset laptop"
"""

import tempfile
import time
from pathlib import Path

from benchmarks.common import Figure, parser, report
from speedyzero.arguments.resolve import resolve
from speedyzero.checkpoint.manifest import checkpoint_dir
from speedyzero.checkpoint.snapshot import take_snapshot
from speedyzero.checkpoint.store import CheckpointStore
from speedyzero.learner.saving import checkpoint_meta
from speedyzero.supervisor.inline import InlineRun, build_run, snapshot_of
from speedyzero.supervisor.resume import find_resumable

TRAINED_STEPS, FURTHER_STEPS = 3, 2


def measure(game: str, preset: str, positions: int, folder: Path) -> list[Figure]:
    settings = [
        f"schedule.env_steps={positions + 2_000}",
        f"schedule.head_start_env_steps={positions}",
        "schedule.train_steps=1000",
        f"replay.capacity_steps={3 * positions + 10_000}",  # no lane wraps
        "learner.batch_size=16",
        "search.num_simulations=4",
        "refresh.enabled=false",
    ]
    config = resolve(preset, game, 0, 0, str(folder), settings)
    run = build_run(config, run_dir=folder)
    advance(run, TRAINED_STEPS)
    board = run.edges.board
    started_s = time.monotonic()
    state = run.learner.state()
    meta = checkpoint_meta(config, run.game, env_steps=board.env_steps, step=state.train_step)
    take_snapshot(meta=meta, weights=state.weights, state={}, parts=state.parts())
    pause_ms = 1e3 * (time.monotonic() - started_s)
    first_save_s, step = save(run, folder), run.learner.train_step
    log_bytes, frames = bytes_in(folder / "replay"), int(run.reanalyzer.shard.head.sum())
    advance(run, step + FURTHER_STEPS)
    second_save_s = save(run, folder)
    added_bytes = bytes_in(folder / "replay") - log_bytes
    run.close()
    started_s = time.monotonic()
    _, checkpoint = find_resumable(folder)
    verify_s = time.monotonic() - started_s
    started_s = time.monotonic()
    build_run(config, run_dir=folder, checkpoint=checkpoint).close()
    restore_s = time.monotonic() - started_s
    name, size = f"{game} ({preset}), {frames:,} positions", bytes_in(checkpoint_dir(folder, checkpoint.step))
    return [
        Figure.of(f"{name}: the learner's pause, copying to host memory", pause_ms, "ms"),
        Figure.of(f"{name}: a checkpoint's files", size / 2**20, "MiB"),
        Figure.of(f"{name}: replay log so far", log_bytes / 2**20, "MiB"),
        Figure.of(f"{name}: the log, a frame of {run.reanalyzer.shard.frame[0, 0].nbytes:,} bytes in memory",
                  log_bytes / frames, "bytes", "1 to 3 kB"),
        Figure.of(f"{name}: first save, with all of the log", first_save_s, "s"),
        Figure.of(f"{name}: second save", second_save_s, "s"),
        Figure.of(f"{name}: what it added to the log", added_bytes / 1024, "KiB"),
        Figure.of(f"{name}: a resume's reading of every byte", verify_s, "s"),
        Figure.of(f"{name}: a resume's restoring of roles, replay, networks, games", restore_s, "s"),
    ]  # fmt: skip


def advance(run: InlineRun, to_step: int) -> None:
    while run.learner.train_step < to_step:
        run.turn()
        for _ in run.edges.metrics.drain():
            pass


def save(run: InlineRun, folder: Path) -> float:
    """Seconds that it took."""
    started_s = time.monotonic()
    with CheckpointStore(folder) as store:
        store.write(snapshot_of(run))
    return time.monotonic() - started_s


def bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--game", default="Pong")
    options.add_argument("--preset", default="efficientzero")
    options.add_argument("--positions", type=int, nargs="+", default=[10_000])
    arguments = options.parse_args()
    figures = []
    for positions in arguments.positions:
        with tempfile.TemporaryDirectory() as folder:
            figures += measure(arguments.game, arguments.preset, positions, Path(folder))
    report("bench_checkpoint", figures, packages=("torch", "numpy", "safetensors", "zstandard", "ale-py"))


if __name__ == "__main__":
    main()
