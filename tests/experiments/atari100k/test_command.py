"""The whole command, with runs that are made up at once: failures, interruptions, what is kept and what is said."""

import json
from pathlib import Path

import pytest

from speedyzero.cli import BAD_INPUT, DONE, INTERRUPTED, check_command, run
from speedyzero.env import atari_roms
from speedyzero.experiments.atari100k import command
from speedyzero.experiments.atari100k.summary import Summary
from speedyzero.experiments.grid.folder import RunsFailed

TWO_GAMES = ["--games", "Pong", "breakout", "--preset", "laptop", "--gpus", "0"]


@pytest.fixture(autouse=True)
def undrawn(befall, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "PICTURES", {name: stub_picture for name in command.PICTURES})


def stub_picture(summary: Summary, path: Path) -> None:
    """Drawing costs seconds; test_results.py draws."""
    with path.open("a") as file:
        file.write(f"{summary.runs} ")


def atari100k(*words: str, out: Path) -> int:
    return run(check_command, ["atari100k", *words, "--out", str(out)], prog="speedyzero")


def results(out: Path) -> dict:
    return json.loads((out / "results.json").read_text())


def test_failing_runs_do_not_end_the_rest_and_are_mended_by_a_rerun(befall, how, tmp_path: Path, capsys):
    befall(**{"Pong-seed1": "crash", "Breakout-seed0": "killed"})
    with pytest.raises(RunsFailed, match="2 of 4 runs have no score") as failed:  # exit code 1
        atari100k(*TWO_GAMES, "--seeds", "2", out=tmp_path)
    crashed, killed = (
        "Pong, seed 1: exit code 3: RuntimeError: the lights went out",
        "Breakout, seed 0: killed by SIGKILL: on the way",
    )
    table = (tmp_path / "table.md").read_text()
    for told in (str(failed.value), table):
        assert crashed in told and killed in told
    assert "not all seeds of Breakout (1 of 2), Pong (1 of 2)" in table
    assert [(one["game"], one["seed"]) for one in results(tmp_path)["runs"]] == [("Pong", 0), ("Breakout", 1)]
    assert "Breakout, seed 1: score 3.7, 0.069 human-normalised" in capsys.readouterr().out

    befall()
    assert atari100k(*TWO_GAMES, "--seeds", "2", out=tmp_path) == DONE
    begun_anew = {"Pong-seed0": "begun", "Breakout-seed1": "begun", "Pong-seed1": "begun"}
    assert how() == {**begun_anew, "Breakout-seed0": "resumed"}
    assert [path.name for path in (tmp_path / "abandoned").iterdir()] == ["Pong-seed1-001"]
    assert "2 of 4 runs are finished already" in capsys.readouterr().out
    assert results(tmp_path)["missing"] == []


def test_an_interrupted_benchmark_goes_on_where_it_was(befall, how, tmp_path: Path, capsys):
    words = [*TWO_GAMES, "--seeds", "2", "schedule.env_steps=3400"]
    befall(**{"Breakout-seed0": "interrupt"})
    assert atari100k(*words, out=tmp_path) == INTERRUPTED
    missing = {(one["game"], one["seed"]): one["reason"] for one in results(tmp_path)["missing"]}
    assert missing == dict.fromkeys([("Breakout", 0), ("Pong", 1), ("Breakout", 1)], "not run yet")
    assert how() == {"Pong-seed0": "begun"}
    assert "Breakout, seed 1: not run yet" in (tmp_path / "table.md").read_text()
    first = (tmp_path / "runs/Pong-seed0/how.txt").stat().st_mtime_ns

    befall()
    assert atari100k(*words, out=tmp_path) == DONE
    assert how()["Breakout-seed0"] == "resumed"
    assert (tmp_path / "runs/Pong-seed0/how.txt").stat().st_mtime_ns == first
    assert not (tmp_path / "abandoned").exists()
    check_what_is_written(tmp_path)


def check_what_is_written(out: Path) -> None:
    """Of two games and two seeds of 1,700 env steps that ended well."""
    document = results(out)
    assert document["is_the_benchmark"] is False and document["settings"] == [
        "evaluate.video=false",
        "schedule.env_steps=3400",
    ]
    assert document["runs"][3] == {
        "game": "Breakout",
        "seed": 1,
        "score": 3.7,
        "human_normalised": pytest.approx(2 / 28.8),
        "env_steps": 3400,
        "train_steps": 14_800,
        "early_score": None,
        "blind_twin": None,
        "policy_information": None,
        "train_s": 30.0,
        "protocol": {"episodes": 16, "truncated_episodes": 1},
        "systems": [{"commit": "abc", "cpu": "slow", "cores": 2, "gpus": []}],
    }
    aggregates = json.loads((out / "aggregates.json").read_text())
    assert aggregates["is_the_benchmark"] is False
    assert aggregates["aggregates"]["mean"]["value"] == pytest.approx(1.5 * (1 / 35.3 + 1 / 28.8) / 2)
    for name in ("profile.png", "aggregates.png"):
        assert set((out / name).read_text().split()) == {"1", "2", "3", "4"}, "drawn after each run"
    table = (out / "table.md").read_text()
    assert table.startswith("**NOT a result of the Atari 100k benchmark:** 2 of 26 games; without Alien, Amidar, ")
    for part in (
        "schedule.env_steps=3400 instead of 100000",
        "scores of 16 episodes instead of 32",
        "counted: 2 episodes",
    ):
        assert part in table


def test_a_run_that_was_stopped_in_its_final_evaluation_is_scored_and_not_trained_again(
    befall, how, tmp_path: Path, capsys
):
    befall(**{"Pong-seed0": "unscored"})
    one = ["--games", "Pong", "--preset", "laptop", "--gpus", "0", "--seeds", "1"]
    with pytest.raises(RunsFailed, match="killed by SIGKILL"):
        atari100k(*one, out=tmp_path)
    assert not (tmp_path / "table.md").exists()  # there is no score
    befall()
    assert atari100k(*one, out=tmp_path) == DONE
    assert how() == {"Pong-seed0": "scored"}

    # runs of other settings, or of another mode, are never mixed
    assert atari100k(*one, "schedule.train_steps=60", out=tmp_path) == BAD_INPUT
    assert "schedule.train_steps=14800, now 60" in capsys.readouterr().err
    assert atari100k(*one, "--inline", out=tmp_path) == BAD_INPUT
    assert "inline=False" in capsys.readouterr().err


def test_a_missing_rom_is_bad_input(befall, tmp_path: Path, monkeypatch, capsys):
    def without_breakout(name: str) -> Path:
        if name == "Breakout":
            raise ValueError("env.game='Breakout': its ROM can't be read: breakout.bin")
        return present(name)

    present = atari_roms.rom_path
    monkeypatch.setattr(atari_roms, "rom_path", without_breakout)
    assert atari100k(*TWO_GAMES, "--seeds", "1", out=tmp_path / "out") == BAD_INPUT
    assert "env.game='Breakout': its ROM can't be read" in capsys.readouterr().err and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--games", "Pnog"], ["Pnog", "did you mean Pong", "Alien"]),
        (["--games", "CartPole-v1"], ["CartPole-v1", "none of the 26"]),
        (["--games", "schedule.env_steps=7"], ["name one or more"]),
        (["--seeds", "0"], ["--seeds: 0", "1 or more"]),
        (["--jobs", "0"], ["--jobs: 0", "1 or more"]),
        (["--gpus", "0", "schedule.env_stepz=7"], ["did you mean"]),
        (["--gpus", "0", "run_dir=x"], ["run_dir=x", "--out"]),
        (["--gpus", "0", "seed=3"], ["seed=3", "--seeds"]),
        (["--gpus", "0", "env.game=Pong"], ["env.game=Pong", "--games"]),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(words: list[str], expected: list[str], tmp_path: Path, refused):
    out = tmp_path / "out"
    line = refused(check_command, ["atari100k", *words, "--out", str(out)])
    assert all(part in line for part in expected), line
    assert not out.exists()
