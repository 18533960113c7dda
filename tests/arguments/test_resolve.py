"""Presets, flags and arguments become one config; every mistake is one line that helps."""

import math
from pathlib import Path

import pytest
from hypothesis import given as any_of
from hypothesis import settings
from hypothesis import strategies as st

from speedyzero.arguments import resolve as resolve_module
from speedyzero.arguments.resolve import resolve
from speedyzero.config import Config, documents, get
from speedyzero.config.documents import deviations, load_config, presets, save_config
from speedyzero.config.settings import SETTINGS, build
from speedyzero.config.validation import validate
from tests.refusal import refusal


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(resolve_module, "visible_gpus", lambda: 0)


@pytest.fixture
def preset_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(documents, "PRESET_FOLDER", tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", presets())
def test_every_preset_is_valid(name: str):
    config = resolve(preset=name)
    validate(config)
    assert config.preset == name


def test_efficientzero_is_the_reference_to_the_letter():
    config = resolve(preset="efficientzero")
    main, total = 100_000, 120_000  # the reference's train steps: with env steps, and with those on frozen data
    assert (config.schedule.env_steps, config.schedule.train_steps) == (main, main)
    assert config.schedule.total_train_steps == total
    assert config.actor.temperatures == (1.0, 0.5, 0.25)
    assert [fraction * total for fraction in config.actor.temperature_changes] == pytest.approx([50_000, 75_000])
    assert config.search.first_pick == "uniform"
    assert config.search.discount == pytest.approx(0.997**4, rel=1e-8)
    assert (config.search.num_simulations, config.search.prefix_horizon, config.target.unroll_steps) == (50, 5, 5)
    assert (config.target.td_steps, config.target.td_decay_fraction, config.target_interval) == (5, 0.3, 200)
    assert math.floor(config.reanalyze.policy_share * config.learner.batch_size) == 253
    assert (config.optimizer.name, config.optimizer.learning_rate, config.optimizer.momentum) == ("sgd", 0.2, 0.9)
    assert config.optimizer.warmup_fraction * main == 1_000
    assert config.optimizer.decay_fraction * main == 100_000
    assert (config.replay.alpha, config.replay.beta_start, config.replay.beta_end) == (0.6, 0.4, 1.0)
    assert config.replay.uniform_share == 0.0
    assert (config.learner.value_coefficient, config.learner.consistency_coefficient) == (0.25, 2.0)


def test_later_wins(preset_folder: Path):
    (preset_folder / "mine.yaml").write_text("seed: 1\nactor: {envs: 4}\nsearch: {num_simulations: 7}\n")
    config = resolve("mine", seed=2, overrides=["seed=3", "actor.envs=5", "actor.envs=6"])
    assert (config.seed, config.actor.envs, config.search.num_simulations) == (3, 6, 7)
    assert resolve("mine", seed=2).seed == 2
    assert resolve("mine").seed == 1


@pytest.mark.parametrize(
    ("game", "overrides", "expected"),
    [
        (None, [], "laptop"),
        ("Pong", [], "laptop"),
        ("Catch", [], "catch"),
        ("CartPole-v1", [], "cartpole"),
        ("Acrobot-v1", [], "vector"),
        ("FrozenLake-v1", ["env.kwargs={map_name: 8x8}"], "vector"),
        (None, ["env.game=Catch"], "catch"),
    ],
)
def test_the_default_preset_suits_the_game(game: str | None, overrides: list[str], expected: str):
    config = resolve(game=game, overrides=overrides)
    assert config.preset == expected
    assert config.env.game == (game or overrides and "Catch" or "Pong")


@pytest.mark.parametrize(
    ("game", "name", "frame_skip", "sticky"),
    [
        ("ALE/Pong-v5", "Pong", 4, 0.25),
        ("ALE/MsPacman-v5", "MsPacman", 4, 0.25),
        ("BreakoutDeterministic-v4", "Breakout", 4, 0.0),
        ("SpaceInvadersDeterministic-v0", "SpaceInvaders", 3, 0.25),
        ("Pong", "Pong", 8, 0.0),  # the laptop preset's
    ],
)
def test_an_id_of_an_atari_game_implies_its_protocol(game: str, name: str, frame_skip: int, sticky: float):
    env = resolve("laptop", game).env
    assert (env.game, env.frame_skip, env.sticky_actions) == (name, frame_skip, sticky)
    assert resolve("laptop", game, overrides=["env.frame_skip=5"]).env.frame_skip == 5


@pytest.mark.parametrize(
    ("game", "words"),
    [
        ("PongNoFrameskip-v4", "use --game Pong env.frame_skip=4"),
        ("Pong-v4", "random frame skip of 2 to 4 is not supported; use ALE/Pong-v5"),
        ("Pong-ram-v4", "observations are the console's memory"),
    ],
)
def test_an_id_whose_protocol_is_not_offered_is_refused(game: str, words: str):
    assert words in refusal(resolve, "laptop", game)


def test_the_default_preset_and_gpus_suit_the_machine(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(resolve_module, "visible_gpus", lambda: 2)
    assert (resolve().preset, resolve().gpus) == ("speedyzero", 2)
    assert resolve(gpus=1).gpus == 1
    assert "gpus=3, but 2 visible" in refusal(resolve, gpus=3)
    assert (resolve(gpus=0).preset, resolve(gpus=0).gpus) == ("laptop", 0)
    assert (resolve(overrides=["gpus=0"]).preset, resolve(gpus=1).gpus) == ("laptop", 1)
    assert (resolve(game="Catch").preset, resolve(game="Catch").gpus) == ("catch", 0)  # the preset's
    assert resolve(game="Catch", gpus=1).gpus == 1


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("serach.num_simulations=8", ["serach.num_simulations", "did you mean search.num_simulations?"]),
        ("num_simulations=8", ["did you mean search.num_simulations?"]),
        ("search.num_simulation=8", ["did you mean search.num_simulations?", "search has num_simulations, discount"]),
        ("model.value_codec.stop=8", ["did you mean model.value_codec.step?", "model.value_codec has limit, step"]),
        ("zzz=8", ["unknown setting zzz", "the config has preset, seed"]),
        ("search=8", ["search must be a group", "num_simulations"]),
        ("search={discont: 1}", ["unknown setting search.discont", "did you mean search.discount?"]),
        ("search.algorithm=gumble", ["search.algorithm=gumble", "one of puct, gumbel", "did you mean gumbel?"]),
        ("search.num_simulations=many", ["search.num_simulations=many", "must be an integer"]),
        ("search.num_simulations=8.5", ["must be an integer"]),
        ("search.num_simulations=true", ["must be an integer"]),
        ("seed=99999999999999999999", ["must be an integer (64 bits)"]),
        ("seed=", ["seed=None", "must be an integer"]),
        ("replay.alpha=x", ["must be a number"]),
        ("env.grayscale=1", ["must be true or false"]),
        ("actor.temperatures=[1,x]", ["must be a list of numbers"]),
        ("actor.temperatures=[1,", ["argument actor.temperatures=[1,"]),
        ("actor.temperatures[0]=1", ["did you mean actor.temperatures?"]),
        ("seed=${nobody}", ["seed", "'nobody' not found"]),
        ("seed", ["must be key=value"]),
        ("=3", ["must be key=value"]),
        ("preset=catch", ["--preset catch"]),
        ("seed=-1", ["seed=-1", "0 or more", "seed from argument seed=-1"]),
        ("search.prefix_horizon=9", ["target.unroll_steps=5", "search.prefix_horizon from argument"]),
    ],
)
def test_a_bad_argument_is_one_line(argument: str, words: list[str]):
    line = refusal(resolve, preset="efficientzero", overrides=[argument])
    assert argument in line
    for expected in words:
        assert expected in line


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("actor: {envz: 4}", ["unknown setting actor.envz", "did you mean actor.envs?"]),
        ("actor: 4", ["actor must be a group"]),
        ("actor: {envs: four}", ["actor.envs=four", "must be an integer"]),
        ("search: {prefix_horizon: 9}", ["search.prefix_horizon from configs/bad.yaml"]),
        ("actor: {envs: 4, envs: 5}", ["duplicate"]),
        ("actor: [", ["flow"]),
        ("- actor", ["must be a group of settings"]),
        ("seed: null", ["seed=None"]),
        (b"\xff\xfe\xfa", []),
    ],
)
def test_a_bad_preset_is_one_line_that_names_its_file(preset_folder: Path, text: str | bytes, words: list[str]):
    (preset_folder / "bad.yaml").write_bytes(text.encode() if isinstance(text, str) else text)
    line = refusal(resolve, preset="bad")
    for expected in ["configs/bad.yaml", *words]:
        assert expected in line


def test_values_are_read_as_yaml_and_text_as_it_is():
    config = resolve(
        "catch",
        overrides=["schedule.env_steps=1e4", "replay.alpha=1", "run_dir=007", "actor.temperatures=[1, .5]"]
        + ["actor.temperature_changes=[0.5]", "env.clip_reward=false", "target={td_steps: 3, unroll_steps: 4}"],
    )
    assert config.schedule.env_steps == 10_000 and isinstance(config.schedule.env_steps, int)
    assert config.replay.alpha == 1.0 and isinstance(config.replay.alpha, float)
    assert config.run_dir == "007"
    assert config.actor.temperatures == (1.0, 0.5)
    assert config.env.clip_reward == "false"
    assert (config.target.td_steps, config.target.unroll_steps) == (3, 4)


def test_a_preset_may_refer_to_what_the_user_changes(preset_folder: Path):
    (preset_folder / "mine.yaml").write_text("schedule:\n  train_steps: ${schedule.env_steps}\n  env_steps: 9000\n")
    assert resolve("mine").schedule.train_steps == 9_000
    assert resolve("mine", overrides=["schedule.env_steps=5000"]).schedule.train_steps == 5_000


@settings(max_examples=40)
@any_of(
    discount=st.floats(0, 1),
    rate=st.floats(min_value=0, exclude_min=True, allow_infinity=False),
    seed=st.integers(0, 2**63 - 1),
    run_dir=st.text(st.characters(exclude_categories=["C"])).filter(lambda text: "${" not in text and text != "???"),
    changes=st.lists(st.floats(0, 1), max_size=4).map(sorted),
)
def test_any_config_comes_back_equal(tmp_path_factory, discount, rate, seed, run_dir, changes):
    values = {path: get(Config(), path) for path in SETTINGS}
    values |= {"search.discount": discount, "optimizer.learning_rate": rate, "seed": seed, "run_dir": run_dir}
    values |= {"actor.temperature_changes": tuple(changes), "actor.temperatures": (1.0,) * (len(changes) + 1)}
    config, path = build(values), tmp_path_factory.getbasetemp() / "config.yaml"
    save_config(config, path)
    assert load_config(path) == config


@pytest.mark.parametrize("text", ["seed: 1\nnonsense: 2\n", "seed: x\n", "seed: -1\n", "{", None])
def test_a_bad_saved_config_is_one_line_that_names_it(tmp_path: Path, text: str | None):
    path = tmp_path / "config.yaml"
    if text is not None:
        path.write_text(text)
    assert str(path) in refusal(load_config, path)


def test_deviations_are_what_differs_from_the_paper():
    assert deviations(resolve(preset="efficientzero")) == []
    found = {entry.field: (entry.here, entry.paper) for entry in deviations(resolve(preset="laptop", seed=3))}
    assert found["env.image_size_px"] == (64, 96)
    assert found["search.algorithm"] == ("gumbel", "puct")
    assert not {"preset", "seed", "gpus", "run_dir", "env.game"} & set(found)
