"""Commands of the README and the documents, and the shortened runs of benchmarks, are still accepted.

A preset that changes may refuse them: a run that is shorter than the preset's head start, say.
"""

import re
import shlex
import sys
from pathlib import Path

import pytest

from benchmarks import bench_kills, bench_process_mode, bench_profile
from benchmarks.gpu import pong
from speedyzero import cli
from speedyzero.arguments.resolve import resolve
from speedyzero.env import user_modules
from tests.faults import hour

ROOT = Path(__file__).parents[1]
COMMAND = re.compile(
    r"^(?:python (?P<program>train\.py|-m speedyzero)|make train ARGS=\"(?P<args>.*?)\")(?: (?P<argv>.*))?$"
)
# Not tried: commands that need GPUs, an existing run, or all 26 games.
NEEDS = re.compile(r"--gpus [1-9]|--resume|RUN_DIR|runs/|atari100k --seeds")


def documented() -> list[tuple[str, list[str]]]:
    """(file, argv) of every command to train or to compare, on a line of its own or within backticks."""
    found = []
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        for line in path.read_text().replace("\\\n", " ").splitlines():
            for command in (line.strip(), *re.findall(r"`([^`]+)`", line)):
                match = COMMAND.match(command)
                if match is None or "--" not in command or NEEDS.search(command.partition("--out")[0]):
                    continue
                argv = shlex.split(match["args"] or match["argv"] or "", comments=True)
                found.append((path.name, argv if match["program"] == "-m speedyzero" else ["train", *argv]))
    return found


@pytest.mark.parametrize(("file", "argv"), documented(), ids=lambda value: str(value)[:60])
def test_a_documented_command_is_accepted(file, argv, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(user_modules.VARIABLE, "")
    page = (ROOT / "docs/guide/your-own-game.md").read_text(encoding="utf-8")
    (code,) = (block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "gymnasium.register" in block)
    (tmp_path / "my_game.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "my_game", raising=False)
    monkeypatch.setattr("speedyzero.supervisor.arguments.ForkServer", lambda preload: None)  # checked, not carried out
    cli.check_command(argv, "speedyzero")


@pytest.mark.parametrize(
    ("game", "preset", "settings"),
    [
        ("CartPole-v1", "cartpole", bench_process_mode.WARM_UP),
        ("Pong", "laptop", bench_process_mode.WARM_UP),
        (bench_kills.GAME, "cartpole", bench_kills.SETTINGS),
        *(
            ("Pong", "laptop", [word for word in [*bench_profile.TINY, *bench_profile.schedule(steps)] if "=" in word])
            for steps in (4, 120, 150)  # the warm-up's, the default and the documented ones
        ),
        ("Pong", "laptop", hour.SETTINGS),
        *(
            ("Pong", of_a_gpu["--preset"], [f"{key}={value}" for key, value in of_a_gpu.items() if key[0] != "-"])
            for of_a_gpu in (pong.SETTINGS, pong.REHEARSED)
        ),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_benchmark_s_run_is_accepted(game, preset, settings):
    resolve(preset, game, 0, 0, None, list(settings))
