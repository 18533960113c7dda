"""The command line: what it refuses and how, what it passes on, and its exit codes."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from speedyzero.cli import DONE, INTERRUPTED, check_command, check_train, run
from speedyzero.config import Config, EnvConfig
from speedyzero.config.documents import save_config
from speedyzero.env import registry
from speedyzero.env.base import LaneEnv
from speedyzero.system.stop_signals import STOP_SIGNALS
from tests.evaluate.untrained import save_untrained, untrained_config

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def empty_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Every test starts in an empty directory, so that what it leaves there can be seen."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(autouse=True)
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here comes so far as to need one."""
    monkeypatch.setattr("speedyzero.supervisor.arguments.ForkServer", lambda preload: None)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Config]:
    """The configs that a run would have been started with."""
    configs: list[Config] = []
    monkeypatch.setattr("speedyzero.supervisor.arguments._train", lambda config, server, **_: configs.append(config))
    return configs


@pytest.fixture
def finished_run(empty_directory: Path) -> Path:
    """A run's directory with a config and a checkpoint."""
    run_dir, config = empty_directory / "run", untrained_config()
    save_untrained(config, run_dir, 1)
    save_config(config, run_dir / "config.yaml")
    return run_dir


def python(*words: str) -> subprocess.CompletedProcess[str]:
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": "."}
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, env=environment)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--game", "Pnog"], ["Pnog", "did you mean Pong"]),
        (["--game", "Pendulum-v1"], ["Discrete"]),
        (["--game", ""], ["no such Atari game"]),
        (["--game"], ["--game", "expected one argument"]),
        (["--preset", "labtop"], ["did you mean laptop?"]),
        (["--preset", "../configs/laptop"], ["unknown preset"]),
        (["--preset", "laptop", "actor.envz=3"], ["did you mean actor.envs?"]),
        (["--preset", "laptop", "actor.envs=0"], ["actor.envs=0", "above 0"]),
        (["--preset", "laptop", "model.network=efficientzero", "env.image_size_px=20"], ["32 px or more"]),
        (["--seed", "x"], ["--seed", "'x'"]),
        (["--seed", "-1"], ["seed=-1"]),
        (["--gpus", "999"], ["gpus=999"]),
        (["--gam=Pong"], ["did you mean --game?"]),
        (["Pong"], ["argument Pong", "key=value"]),
        (["--resume"], ["--resume", "name the run's directory", "there are 0"]),
        (["--resume", "runs/x"], ["--resume runs/x", "no such directory"]),
        (["--resume", "full"], ["--resume full", "no checkpoint to resume from"]),
        (["--resume", "full/file"], ["--resume full/file", "is no directory"]),
        (["--force", "seed"], ["--force seed", "only --resume"]),
        (["--profile", "0"], ["--profile 0", "seconds above 0"]),
        (["--run-dir", "full"], ["full", "not empty"]),
        (["--run-dir", "full/file"], ["full/file", "is a file"]),
        (["--run-dir", "full/file/inside"], ["full/file/inside", "cannot write"]),
    ],
)
def test_bad_input_to_train_is_one_line_and_leaves_nothing(
    words: list[str], expected: list[str], trained: list[Config], refused
):
    full = Path("full")
    full.mkdir()
    (full / "file").touch()
    line = refused(check_train, words, prog="train.py")
    assert all(part in line for part in expected), line
    assert trained == []
    assert sorted(path.name for path in Path().rglob("*")) == ["file", "full"]


def test_flags_and_settings_in_any_order(trained: list[Config]):
    words = "seed=5 --game catch learner.batch_size=32 --seed 3 --inline search.num_simulations=4 --run-dir new".split()
    assert run(check_train, words, prog="train.py") == DONE
    (config,) = trained
    assert (config.env.game, config.preset, config.seed, config.run_dir) == ("Catch", "catch", 5, "new")
    assert (config.learner.batch_size, config.search.num_simulations) == (32, 4)
    assert not Path("new").exists()


def test_a_film_that_cannot_be_drawn_is_refused_before_the_run(
    monkeypatch: pytest.MonkeyPatch, trained: list[Config], refused
):
    make_env = registry.make_env

    def no_drawing(config: EnvConfig, *, render: bool = False, **arguments) -> LaneEnv:
        if render:
            raise ValueError("pygame is not installed")
        return make_env(config, **arguments)

    monkeypatch.setattr(registry, "make_env", no_drawing)
    line = refused(check_train, ["--preset", "cartpole", "evaluate.video=true"], prog="train.py")
    assert "evaluate.video=true: pygame is not installed" in line
    assert run(check_train, ["--preset", "cartpole", "evaluate.video=false"], prog="train.py") == DONE
    assert len(trained) == 1


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], ["train or evaluate"]),
        (["trian"], ["unknown command trian", "did you mean train?", "train, evaluate"]),
        (["doctor", "--gpus", "-1"], ["--gpus: -1", "0 or more"]),
        (["doctor", "--game"], ["--game", "expected one argument"]),
        (["report"], ["RUN_DIR"]),
        (["evaluate"], ["RUN_DIR"]),
        (["evaluate", "nowhere"], ["nowhere", "config.yaml"]),
        (["evaluate", "run", "--episodes", "0"], ["--episodes: 0", "1 or more"]),
        (["evaluate", "run", "--video", "film.avi"], ["film.avi", ".mp4 or .gif"]),
        (["evaluate", "run", "--video", "run/config.yaml/film.mp4"], ["film.mp4", "cannot write"]),
        (["evaluate", "run", "--vidoe", "film.mp4"], ["did you mean --video?"]),
        (["evaluate", "run", "more"], ["unknown argument more"]),
        (["train", "--game", "Catch", "--run-dir", "/proc/run"], ["/proc", "cannot write"]),
        ("train --game Catch --inline schedule.env_steps=2000000 schedule.train_steps=100".split(), ["wraps", "guard"]),
    ],
)
def test_bad_commands_are_one_line(words: list[str], expected: list[str], finished_run: Path, refused):
    line = refused(check_command, words)
    assert all(part in line for part in expected), line


def test_evaluate_passes_on_what_was_asked(finished_run: Path, monkeypatch: pytest.MonkeyPatch):
    asked: list[tuple] = []

    def record(run_dir: Path, episodes: int, video: Path | None, **options: object) -> None:
        asked.append((run_dir, episodes, video, *options.values()))

    monkeypatch.setattr("speedyzero.evaluate.command.evaluate_run", record)
    assert run(check_command, ["evaluate", "run"], prog="speedyzero") == DONE
    assert (
        run(
            check_command,
            "evaluate run --episodes 3 --video film.gif --action sampled --blind --seed 3".split(),
            prog="speedyzero",
        )
        == DONE
    )
    episodes = untrained_config().evaluate.episodes
    assert asked == [
        (Path("run"), episodes, None, None, False, 0),
        (Path("run"), 3, Path("film.gif"), "sampled", True, 3),
    ]


def test_interruption_is_130_and_a_second_one_does_not_change_that(monkeypatch, capsys):
    def interrupt(config: Config, server: object, *, profile: float | None) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("speedyzero.supervisor.arguments._train", interrupt)
    assert run(check_train, ["--preset", "catch"], prog="train.py") == INTERRUPTED
    assert capsys.readouterr().err == "train.py: interrupted\n"
    assert {signal.getsignal(number) for number in STOP_SIGNALS} == {signal.SIG_IGN}


@pytest.mark.parametrize(
    ("program", "number"),
    [
        (f"run_path({str(ROOT / 'train.py')!r}", signal.SIGTERM),
        (f"run_path({str(ROOT / 'train.py')!r}", signal.SIGUSR1),
        ("run_module('speedyzero'", signal.SIGINT),
    ],
)
def test_a_signal_while_the_program_is_still_being_imported_is_acknowledged(program: str, number: signal.Signals):
    code = f"""
import builtins, os, runpy, sys
real = builtins.__import__
def struck(name, *rest, **more):
    if name == "speedyzero.cli":
        os.kill(os.getpid(), {int(number)})
    return real(name, *rest, **more)
builtins.__import__ = struck
sys.argv = ["x", "plan", "--help"]
runpy.{program}, run_name="__main__")
"""
    done = python("-c", code)
    assert (done.returncode, done.stderr.count("\n")) == (INTERRUPTED, 1), done.stderr


def test_a_fault_keeps_its_traceback_even_if_it_is_a_value_error(monkeypatch: pytest.MonkeyPatch):
    def fail(config: Config, server: object, *, profile: float | None) -> None:
        raise ValueError("two shapes differ")

    monkeypatch.setattr("speedyzero.supervisor.arguments._train", fail)
    with pytest.raises(ValueError, match="two shapes differ"):
        run(check_train, ["--preset", "catch"], prog="train.py")


def test_the_program_itself():
    bad = python(str(ROOT / "train.py"), "--game", "Pnog")
    assert (bad.returncode, bad.stdout, bad.stderr.count("\n")) == (2, "", 1)
    module = python("-m", "speedyzero", "train", "--game", "Pnog")
    assert (module.returncode, module.stderr) == (2, bad.stderr.replace("train.py", "python -m speedyzero"))


def test_help(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        run(check_command, ["train", "--help"], prog="speedyzero")
    shown = capsys.readouterr()
    assert not ended.value.code and "--preset" in shown.out and shown.err == ""


def test_bad_input_is_refused_before_torch_is_imported_and_a_server_begun():
    refusals = [
        ["--game", "Pnog"],
        ["--resume", "nowhere"],
        ["--resume"],
        ["--preset", "laptop", "model.network=efficientzero", "env.image_size_px=20"],
        ["--game", "Catch", "--run-dir", "/"],
        ["--game", "oddgames:Missing-v0"],
    ]
    code = (
        "import sys; from speedyzero import cli; from speedyzero.supervisor import arguments; "
        "arguments.ForkServer = lambda preload: print('begun')\n"
        f"for argv in {refusals}: print(cli.run(cli.check_train, argv, prog='x'), 'torch' in sys.modules)"
    )
    assert python("-c", code).stdout == "2 False\n" * len(refusals)
