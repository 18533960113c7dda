"""A run as a user starts it, in a process group of its own, to be looked into and struck: mostly a short Catch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from speedyzero.arguments.resolve import read_arguments, resolve
from speedyzero.config import Config
from speedyzero.config.documents import load_config, override
from speedyzero.env.registry import check_game
from speedyzero.runtime.wiring import Wiring, wire
from speedyzero.shm import Board, Run
from speedyzero.shm.run import SHM_MOUNT, run_id_of

ROOT = Path(__file__).parents[2]
LIMIT_S = 600.0 if os.environ.get("SOAK") == "1" else 150.0  # far beyond any wait that succeeds
SHORT = (
    "schedule.env_steps=1000 schedule.train_steps=120 schedule.head_start_env_steps=520 search.num_simulations=4 "
    "learner.batch_size=32 target.interval_samples=1600 learner.publish_interval_samples=320 evaluate.episodes=20 "
    "evaluate.video=false supervisor.record_interval_s=0.5"
).split()


@dataclass
class WholeRun:
    config: Config
    process: subprocess.Popen
    printed: str = ""

    @classmethod
    def start(cls, run_dir: Path, *settings: str, flags: Sequence[str] = ()) -> WholeRun:
        return cls.play("Catch", "catch", 0, run_dir, *SHORT, *settings, flags=flags)

    @classmethod
    def play(
        cls, game: str, preset: str, seed: int, run_dir: Path, *settings: str, flags: Sequence[str] = ()
    ) -> WholeRun:
        words = ["--game", game, "--preset", preset, "--seed", str(seed), "--gpus", "0", "--run-dir", str(run_dir)]
        return cls._started(resolve(preset, game, seed, 0, str(run_dir), settings), [*words, *flags, *settings])

    @classmethod
    def resume(cls, run_dir: Path, *settings: str) -> WholeRun:
        """Continue with a run that has ended."""
        config = load_config(run_dir / "config.yaml")
        return cls._started(
            override(config, read_arguments(None, None, None, None, settings)), ["--resume", str(run_dir), *settings]
        )

    @classmethod
    def _started(cls, config: Config, words: Sequence[str]) -> WholeRun:
        process = subprocess.Popen(
            [sys.executable, "train.py", *words],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        return cls(config, process)

    def __enter__(self) -> WholeRun:
        return self

    def __exit__(self, *_: object) -> None:
        """Whatever became of the test, nobody runs on, and who has to be killed here leaves nothing either."""
        cut_off = self.group()
        for pid in cut_off:
            os.kill(pid, signal.SIGKILL)
        self.process.wait()
        for name in self.shared_names() if cut_off else ():
            (SHM_MOUNT / name).unlink(missing_ok=True)
        assert self.process.stdout is not None
        self.process.stdout.close()

    @cached_property
    def wiring(self) -> Wiring:
        """The run's own: found by the process that made it."""

        def run_ids() -> list[str]:
            ids = [run_id_of(path.name) for path in SHM_MOUNT.iterdir()]
            return [one for one in ids if one and Run(one).owner.pid == self.process.pid]

        self.wait_for(lambda: bool(run_ids()), "shared memory")
        game = check_game(self.config.env)
        return wire(self.config, Run(run_ids()[0]), game.spec, game.num_actions)

    @cached_property
    def board(self) -> Board:
        board = self.wiring.run.object_name("board")
        self.wait_for((SHM_MOUNT / board).exists, "the board, made last")
        while True:
            try:
                return Board.attach(self.wiring.run, self.wiring.board)
            except ValueError:  # made, and not finished
                assert self.process.poll() is None

    def wait_for_step(self, train_step: int) -> None:
        self.wait_for(lambda: self.board.total("train_steps") >= train_step, f"train step {train_step}")

    def wait_for(self, condition: Callable[[], bool], what: str) -> float:
        """The seconds that it took. Fails where the run ends before."""
        started_s = time.monotonic()
        while not condition():
            assert self.process.poll() is None, f"ended before {what}:\n{self.output()}"
            assert time.monotonic() - started_s < LIMIT_S, f"{what} has not come in {LIMIT_S:.0f} s"
            time.sleep(0.01)
        return time.monotonic() - started_s

    def pid_of(self, process: str) -> int:
        holder = self.board.process(process)
        assert holder is not None
        return holder.pid

    def group(self) -> list[int]:
        """Living processes of the run."""
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                command = (entry / "cmdline").read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue
            is_ours = int(fields[3]) == self.process.pid and fields[0] not in "ZX"  # its session
            if is_ours and command:  # without a command it is on its way out
                found.append(int(entry.name))
        return found

    def mapped(self) -> dict[int, set[str]]:
        """The run ids of the shared objects that each process of the run has mapped."""
        found: dict[int, set[str]] = {}
        for pid in self.group():
            try:
                lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended meanwhile
            ids = {run_id_of(Path(line.split(maxsplit=5)[5]).name) for line in lines if str(SHM_MOUNT) in line}
            found[pid] = {one for one in ids if one}
        return found

    def wait(self) -> int:
        """The exit code, once it has ended; `printed` is all that it said."""
        self.printed = self.output()
        return self.process.returncode

    def ends(self, code: int = 0) -> str:
        """Everything that it printed, once it has ended with this exit code and left nothing behind."""
        output = self.output()
        assert self.process.returncode == code, output
        assert self.group() == [] and self.shared_names() == []
        return output

    def output(self) -> str:
        """Everything that it printed, once it has ended."""
        return self.process.communicate(timeout=LIMIT_S)[0]

    def shared_names(self) -> list[str]:
        """What stands in shared memory under this run's process id."""
        mine = f"speedyzero.{self.process.pid}-"
        return [path.name for path in SHM_MOUNT.iterdir() if path.name.removeprefix("sem.").startswith(mine)]
