"""From words to runs: factors, arms, and what each run is told."""

from dataclasses import replace
from pathlib import Path

import pytest

from speedyzero.arguments.resolve import resolve
from speedyzero.cli import check_train
from speedyzero.env.atari_ids import spelled_out
from speedyzero.experiments.ablate import arguments as ablate_arguments
from speedyzero.experiments.ablate.command import AblationFolder
from speedyzero.experiments.ablate.plan import Ablation, Arm, Factor, arms_of, plan_runs, read_factors

SHARED = Ablation(arms=(), seeds=(0, 1), game="catch", gpus=0)


def test_switches_take_both_values_and_choices_all_of_theirs():
    factors, settings = read_factors(["refresh.enabled,optimizer.name", "optimizer.clip=1,1e1"])
    assert factors == [
        Factor("refresh.enabled", ("true", "false")),
        Factor("optimizer.name", ("sgd", "clipped_lars", "lars", "adamw")),
        Factor("optimizer.clip", ("1", "1e1")),
    ]
    assert settings == []


def test_a_comma_in_brackets_is_part_of_a_value_and_one_value_is_a_setting_of_all():
    factors, settings = read_factors(["actor.temperatures=[1.0,0.5],[1.0,0.25]", "schedule.train_steps=60"])
    assert factors == [Factor("actor.temperatures", ("[1.0,0.5]", "[1.0,0.25]"))]
    assert settings == ["schedule.train_steps=60"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["refresh.enable"], ["refresh.enable", "did you mean refresh.enabled"]),
        (["optimizer.clip"], ["optimizer.clip", "name its values"]),
        (["optimizer.clip=1,,2"], ["optimizer.clip=1,,2", "missing"]),
        (["optimizer.clip=1,1"], ["named twice"]),
        (["refresh.enabled", "refresh.enabled=false,true"], ["refresh.enabled is named twice"]),
        (["seed=1,2"], ["seed"]),
    ],
)
def test_bad_factors_are_refused(words: list[str], expected: list[str]):
    with pytest.raises(ValueError) as refused:
        read_factors(words)
    assert all(part in str(refused.value) for part in expected), refused.value


def test_one_at_a_time_leaves_out_what_the_base_is_already():
    factors, _ = read_factors(["refresh.enabled=false,true", "optimizer.learning_rate=3e-3,1e-2"])
    shared = replace(SHARED, settings=("optimizer.name=sgd",))
    assert arms_of(shared, factors, grid="one-at-a-time") == (
        Arm("base", ()),
        Arm("refresh.enabled=false", ("refresh.enabled=false",)),
        Arm("optimizer.learning_rate=1e-2", ("optimizer.learning_rate=1e-2",)),  # the preset's is 0.003
    )


def test_a_full_grid_is_every_combination():
    factors, _ = read_factors(["refresh.enabled", "reanalyze.memo"])
    arms = arms_of(SHARED, factors, grid="full")
    assert [arm.settings for arm in arms] == [
        ("refresh.enabled=true", "reanalyze.memo=true"),
        ("refresh.enabled=true", "reanalyze.memo=false"),
        ("refresh.enabled=false", "reanalyze.memo=true"),
        ("refresh.enabled=false", "reanalyze.memo=false"),
    ]


def test_runs_go_seed_by_seed_and_an_arm_s_settings_win():
    arms = (Arm("base", ()), Arm("long", ("schedule.train_steps=2000",)))
    runs = plan_runs(replace(SHARED, arms=arms, settings=("schedule.train_steps=500",)))
    assert [(run.group, run.seed) for run in runs] == [("base", 0), ("long", 0), ("base", 1), ("long", 1)]
    assert [run.config.schedule.train_steps for run in runs] == [500, 2000, 500, 2000]
    assert [run.config.seed for run in runs] == [0, 0, 1, 1]
    assert [run.config.evaluate.interval_train_steps for run in runs] == [50, 200, 50, 200]
    assert not runs[0].config.evaluate.video


def test_scores_on_the_way_are_the_users_if_they_are_given():
    given = ("evaluate.interval_train_steps=0", "evaluate.interval_episodes=3")
    (run,) = plan_runs(replace(SHARED, arms=(Arm("base", ()),), seeds=(0,), settings=given))
    assert (run.config.evaluate.interval_train_steps, run.config.evaluate.interval_episodes) == (0, 3)


def test_train_understands_what_a_run_tells_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """The planned config is the one that the child will have, so that a finished run can be recognised."""
    trained = []
    monkeypatch.setattr(
        "speedyzero.supervisor.arguments._train", lambda config, server, **_: trained.append((config, server is None))
    )
    (run,) = plan_runs(replace(SHARED, arms=(Arm("off", ("refresh.enabled=false",)),), seeds=(7,)))
    command, *words = run.command(tmp_path / "run", inline=True)
    assert command == "train"
    check_train(words, "train")()
    assert trained == [(replace(run.config, run_dir=str(tmp_path / "run")), True)]


@pytest.mark.parametrize(
    ("arms", "expected"),
    [
        ((Arm("a b", ()), Arm("a/b", ("refresh.enabled=false",))), "different names"),
        ((Arm("a", ()), Arm("b", ("refresh.enabled=true",))), "the same run"),
        ((Arm("a", ("run_dir=x",)),), "directory of its own"),
        ((Arm("a", ("actor.envs=0",)),), "actor.envs=0"),
    ],
)
def test_arms_that_cannot_be_compared_are_refused(arms: tuple[Arm, ...], expected: str):
    with pytest.raises(ValueError, match=expected):
        plan_runs(replace(SHARED, arms=arms))


def test_names_are_fit_for_files():
    (run,) = plan_runs(replace(SHARED, arms=(Arm("x=[1.0, 2] y", ()),), seeds=(3,)))
    assert run.name == "x=-1.0-2-y-seed3"
    assert run.config == replace(resolve("catch", "Catch", 3, 0, None, run.settings))


def test_an_atari_id_is_spelled_out_for_the_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Each run is started by the plain name, which does not imply what the id does."""
    monkeypatch.setattr(AblationFolder, "carry_out", lambda folder: None)
    made: list[AblationFolder] = []
    monkeypatch.setattr(ablate_arguments, "check_run", lambda config, *, inline: made.append(config))
    words = ["--game", "ALE/Pong-v5", "--preset", "laptop", "--gpus", "0", "--vary", "refresh.enabled", "--inline"]
    ablate_arguments.check([*words, "--out", str(tmp_path / "out"), "evaluate.video=false"], "ablate")
    assert {(config.env.game, config.env.frame_skip, config.env.sticky_actions) for config in made} == {
        ("Pong", 4, 0.25)
    }
    game, settings = spelled_out("ALE/Pong-v5")
    run = resolve("laptop", game, 0, 0, None, settings)
    assert run.env == made[0].env
