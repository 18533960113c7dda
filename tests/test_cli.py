"""The command line: what it refuses and how, what it passes on, and its exit codes."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from speedyzero.arguments.resolve import resolve
from speedyzero.checkpoint.weights_file import checkpoint_dir, save_weights
from speedyzero.cli import BAD_INPUT, DONE, INTERRUPTED, check_command, check_train, run
from speedyzero.config import Config, EnvConfig
from speedyzero.config.documents import save_config
from speedyzero.env import registry
from speedyzero.env.base import LaneEnv
from speedyzero.env.registry import check_game
from speedyzero.model.build import build_network
from speedyzero.system.stop_signals import STOP_SIGNALS

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
    run_dir = empty_directory / "run"
    run_dir.mkdir()
    config = resolve("catch", gpus=0)
    save_config(config, run_dir / "config.yaml")
    game = check_game(config.env)
    network = build_network(config, game.spec, game.num_actions)
    meta = {"step": 1, "preset": "catch", "game": "Catch", "num_actions": game.num_actions, "score": None}
    save_weights(checkpoint_dir(run_dir, 1), network.state_dict(), meta)
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
        (["--preset", "laptop", "actor.envz=3"], ["did you mean actor.envs?"]),
        (["--preset", "laptop", "actor.envs=0"], ["actor.envs=0", "above 0"]),
        (["--preset", "laptop", "model.network=efficientzero", "env.image_size_px=20"], ["32 px or more"]),
        (["--seed", "x"], ["--seed", "'x'"]),
        (["--seed", "-1"], ["seed=-1"]),
        (["--gpus", "999"], ["gpus=999"]),
        (["--sed", "3"], ["--sed", "did you mean --seed?", "--game"]),
        (["--gam=Pong"], ["did you mean --game?"]),
        (["Pong"], ["argument Pong", "key=value"]),
        (["--resume"], ["--resume", "name the run's directory", "there are 0"]),
        (["--resume", "runs/x"], ["--resume runs/x", "no such directory"]),
        (["--resume", "full"], ["--resume full", "no checkpoint to resume from"]),
        (["--resume", "full/file"], ["--resume full/file", "is no directory"]),
        (["--force", "seed"], ["--force seed", "only --resume"]),
        (["--profile", "0"], ["--profile 0", "seconds above 0"]),
        (["--profile", "soon"], ["--profile soon", "seconds above 0"]),
        (["--run-dir", "full"], ["full", "not empty"]),
        (["--run-dir", "full/file"], ["full/file", "is a file"]),
        (["--run-dir", "full/file/inside"], ["full/file/inside", "cannot write"]),
    ],
)
def test_bad_input_to_train_is_one_line_and_leaves_nothing(
    words: list[str], expected: list[str], tmp_path: Path, trained: list[Config], capsys: pytest.CaptureFixture[str]
):
    full = Path("full")
    full.mkdir()
    (full / "file").touch()
    assert run(check_train, words, prog="train.py") == BAD_INPUT
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1 and captured.err.startswith("train.py: ")
    for part in expected:
        assert part in captured.err
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
    monkeypatch: pytest.MonkeyPatch, trained: list[Config], capsys: pytest.CaptureFixture[str]
):
    make_env = registry.make_env

    def no_drawing(config: EnvConfig, *, render: bool = False, **arguments) -> LaneEnv:
        if render:
            raise ValueError("pygame is not installed")
        return make_env(config, **arguments)

    monkeypatch.setattr(registry, "make_env", no_drawing)
    assert run(check_train, ["--preset", "cartpole", "evaluate.video=true"], prog="train.py") == BAD_INPUT
    assert "evaluate.video=true: pygame is not installed" in capsys.readouterr().err
    assert run(check_train, ["--preset", "cartpole", "evaluate.video=false"], prog="train.py") == DONE
    assert len(trained) == 1


def test_an_empty_run_directory_is_taken(trained: list[Config]):
    Path("new").mkdir()
    assert run(check_train, ["--preset", "catch", "--run-dir", "new"], prog="train.py") == DONE
    assert len(trained) == 1


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], ["train or evaluate"]),
        (["trian"], ["did you mean train?", "evaluate"]),
        (["doktor"], ["unknown command doktor", "did you mean doctor?", "train, evaluate"]),
        (["doctor", "--gpus", "-1"], ["--gpus -1", "0 or more"]),
        (["doctor", "--game"], ["--game", "expected one argument"]),
        (["report"], ["RUN_DIR"]),
        (["evaluate"], ["RUN_DIR"]),
        (["evaluate", "nowhere"], ["nowhere", "config.yaml"]),
        (["evaluate", "run", "--episodes", "0"], ["--episodes 0", "1 or more"]),
        (["evaluate", "run", "--video", "film.avi"], ["film.avi", ".mp4 or .gif"]),
        (["evaluate", "run", "--video", "run/config.yaml/film.mp4"], ["film.mp4", "cannot write"]),
        (["evaluate", "run", "--vidoe", "film.mp4"], ["did you mean --video?"]),
        (["evaluate", "run", "more"], ["unknown argument more"]),
    ],
)
def test_bad_commands_are_one_line(
    words: list[str], expected: list[str], finished_run: Path, capsys: pytest.CaptureFixture[str]
):
    assert run(check_command, words, prog="speedyzero") == BAD_INPUT
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1 and captured.err.startswith("speedyzero")
    for part in expected:
        assert part in captured.err


def test_evaluate_refuses_weights_that_are_missing_damaged_or_of_another_network(
    finished_run: Path, capsys: pytest.CaptureFixture[str]
):
    def refusal() -> str:
        assert run(check_command, ["evaluate", "run"], prog="speedyzero") == BAD_INPUT
        line = capsys.readouterr().err
        assert line.count("\n") == 1
        return line

    saved = (finished_run / "config.yaml").read_text()
    (finished_run / "config.yaml").write_text(saved.replace("mlp_hidden: 128", "mlp_hidden: 64"))
    assert "does not fit this run's network" in refusal()
    (finished_run / "config.yaml").write_text(saved)
    tensors = checkpoint_dir(finished_run, 1) / "weights.safetensors"
    content = bytearray(tensors.read_bytes())
    content[-1] ^= 1
    tensors.write_bytes(content)
    assert "no whole checkpoint" in refusal()


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
    episodes = resolve("catch", gpus=0).evaluate.episodes
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
    shown = python("-m", "speedyzero", "train", "--help")
    assert shown.returncode == 0 and "--preset" in shown.stdout and shown.stderr == ""
    fault = (
        "from speedyzero import cli; from speedyzero.supervisor import arguments; "
        "arguments._train = lambda c, s, **_: 1 / 0; cli.run(cli.check_train, [], prog='x')"
    )
    failed = python("-c", fault)
    assert failed.returncode == 1 and "ZeroDivisionError" in failed.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["--game", "Pnog"],
        ["--resume", "nowhere"],
        ["--resume"],
        ["--preset", "laptop", "model.network=efficientzero", "env.image_size_px=20"],
        ["--game", "Catch", "--run-dir", "/"],
        ["--game", "oddgames:Missing-v0"],
    ],
    ids=" ".join,
)
def test_bad_input_is_refused_before_torch_is_imported_and_a_server_begun(words: list[str]):
    code = (
        "import sys; from speedyzero import cli; from speedyzero.supervisor import arguments; "
        "arguments.ForkServer = lambda preload: print('begun'); "
        f"print(cli.run(cli.check_train, {words}, prog='x'), 'torch' in sys.modules)"
    )
    assert python("-c", code).stdout == "2 False\n"


def test_inline_runs_one_of_each(capsys: pytest.CaptureFixture[str]):
    words = ["--preset", "catch", "--inline", "actor.actors=2", "schedule.head_start_env_steps=600"]
    assert run(check_train, words, prog="train.py") == BAD_INPUT
    refusal = capsys.readouterr().err
    assert "one actor, one shard and one learner, not 2, 1 and 1" in refusal and refusal.count("\n") == 1
