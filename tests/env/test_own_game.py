"""A game of the user's own, from a module on the path: trained, scored, loaded and resumed by whoever names it."""

from pathlib import Path

import pytest

import speedyzero
from speedyzero.cli import DONE, check_command, run
from speedyzero.env import user_modules
from speedyzero.env.registry import check_game

ROOT = Path(__file__).parents[2]
GAME = "odd_games:Watched-v0"
SETTINGS = (
    "schedule.env_steps=240 schedule.train_steps=20 schedule.head_start_env_steps=80 actor.envs=4 "
    "target.td_steps=3 learner.batch_size=8 search.num_simulations=2 "
    "model.mlp_hidden=16 model.mlp_latent=16 model.projector_hidden=16 "
    "model.projector_out=16 model.predictor_hidden=16 evaluate.episodes=2 evaluate.parallel_envs=2"
).split()


@pytest.fixture(autouse=True)
def game_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "env"))
    monkeypatch.setenv(user_modules.VARIABLE, "")


def command(*words: str) -> int:
    return run(check_command, words, prog="speedyzero")


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """A finished run; whoever comes later has named nothing."""
    run_dir = tmp_path / "run"
    assert command("train", "--game", GAME, "--gpus", "0", "--inline", "--run-dir", str(run_dir), *SETTINGS) == DONE
    assert "rewards  learnt from what the game pays" in (out := capsys.readouterr().out) and "limit    the game" in out
    monkeypatch.setenv(user_modules.VARIABLE, "")
    return run_dir


def test_a_run_of_an_own_game_is_opened_by_whoever_names_it(trained: Path, capsys, refused, monkeypatch):
    longer = ["schedule.train_steps=24", "schedule.env_steps=256"]
    for words in (["evaluate", str(trained)], ["train", "--inline", "--resume", str(trained), *longer]):
        assert f"add --game {GAME}" in refused(check_command, words)
    with pytest.raises(ValueError, match="load"):
        speedyzero.load(trained)
    assert f"plays {GAME}" in refused(check_command, ["evaluate", str(trained), "--game", "odd_games:Base-v0"])
    assert command("report", str(trained)) == DONE
    for seed in ("0", "5"):
        assert command("evaluate", str(trained), "--game", GAME, "--seed", seed, "--episodes", "1") == DONE
        assert f"evaluation seed {seed}" in capsys.readouterr().out
    assert speedyzero.load(trained, game=GAME).spec.shape == (3,)
    monkeypatch.setenv(user_modules.VARIABLE, "")
    assert command("train", "--inline", "--resume", str(trained), "--game", GAME, *longer) == DONE


def test_every_process_of_a_run_can_import_the_game(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """All are forked by the server that the command begins; it gets the module before."""
    codes = []

    def train(config, server, resume, *, profile):
        process = server.start(check_game, (config.env,))
        process.join()
        codes.append(process.exit_code)

    monkeypatch.setattr("speedyzero.supervisor.train.train", train)
    assert command("train", "--game", GAME, "--gpus", "0", "--run-dir", str(tmp_path / "run"), *SETTINGS) == DONE
    assert codes == [0]
