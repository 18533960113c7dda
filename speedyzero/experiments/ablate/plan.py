"""The plan of an ablation: factors with values, arms of settings, and one run for each arm and seed.

Called by the command line, and by benchmarks that define their own arms. Starts and writes nothing.

    factors --one at a time, or all combinations--> arms --each with every seed--> runs
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from speedyzero.arguments.resolve import resolve
from speedyzero.config import Config
from speedyzero.config.settings import SETTINGS, near
from speedyzero.env.registry import check_game
from speedyzero.experiments.grid.run import GridRun

BASE = "base"
SCORES_ON_THE_WAY = 10
EPISODES_ON_THE_WAY = 20


@dataclass(frozen=True)
class Factor:
    """A setting and its values, as written on the command line."""

    path: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Arm:
    """Runs that differ only by their seed."""

    name: str
    settings: tuple[str, ...]
    """Its own settings, as key=value."""


@dataclass(frozen=True)
class Ablation:
    """Everything that determines the runs."""

    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    game: str | None = None
    preset: str | None = None
    gpus: int | None = None
    settings: tuple[str, ...] = ()
    """For all arms, as key=value; an arm's own settings take precedence."""
    inline: bool = False


def read_factors(words: Iterable[str]) -> tuple[list[Factor], list[str]]:
    """The factors in `--vary`'s arguments, and the arguments with a single value, which are settings of all arms.

    An argument is `path=value,value,...`, or `path,path`, which takes true and false for a switch and all choices
    otherwise. Commas inside brackets belong to a value. Raises ValueError for unknown settings.
    """
    factors, settings = [], []
    for word in words:
        path, equals, values = word.partition("=")
        found = [Factor(path, _split(values))] if equals else [_all_values(path) for path in word.split(",")]
        for factor in found:
            _check_path(factor.path)
            if "" in factor.values or len(set(factor.values)) < len(factor.values):
                raise ValueError(f"--vary {word}: values are missing or named twice")
            if len(factor.values) == 1:
                settings.append(word)
            else:
                factors.append(factor)
    paths = [factor.path for factor in factors]
    twice = {path for path in paths if paths.count(path) > 1}
    if twice:
        raise ValueError(f"--vary: {', '.join(sorted(twice))} is named twice")
    return factors, settings


def arms_of(ablation: Ablation, factors: Sequence[Factor], *, grid: str) -> tuple[Arm, ...]:
    """The arms of a grid: all combinations, or the base plus one arm for each non-base value of each factor.

    Raises ValueError as `resolve` does.
    """
    if grid == "full":
        combinations = itertools.product(*([f"{f.path}={value}" for value in f.values] for f in factors))
        return tuple(Arm(" ".join(settings), settings) for settings in combinations)
    assert grid == "one-at-a-time", grid
    changes = [f"{f.path}={value}" for f in factors for value in f.values]
    base = _resolve(ablation, seed=0)
    return (Arm(BASE, ()), *(Arm(one, (one,)) for one in changes if _resolve(ablation, one, seed=0) != base))


def plan_runs(ablation: Ablation) -> list[GridRun]:
    """Every run, seed by seed, so that an interrupted ablation has compared all arms on its finished seeds.

    Unless set otherwise, runs are evaluated ten times on the way, with few games, and not filmed. Raises ValueError for
    whatever `resolve` rejects, and for identical arms.
    """
    runs = [_plan(ablation, arm, seed) for seed in ablation.seeds for arm in ablation.arms]
    of_one_seed = {run.name: run for run in runs if run.seed == ablation.seeds[0]}
    if len(of_one_seed) < len(ablation.arms):
        raise ValueError(f"arms must have different names: {', '.join(arm.name for arm in ablation.arms)}")
    for one, other in itertools.combinations(of_one_seed.values(), 2):
        if one.config == other.config:
            raise ValueError(f"arms {one.group} and {other.group} are the same run")
    return runs


def _plan(ablation: Ablation, arm: Arm, seed: int) -> GridRun:
    steps = _resolve(ablation, *arm.settings, seed=seed).schedule.total_train_steps
    scored = {
        "evaluate.interval_train_steps": max(1, steps // SCORES_ON_THE_WAY),
        "evaluate.interval_episodes": EPISODES_ON_THE_WAY,
        "evaluate.video": "false",
    }
    given = (*ablation.settings, *arm.settings)
    named = {setting.partition("=")[0] for setting in given}
    ours = [f"{path}={value}" for path, value in scored.items() if path not in named]
    config = _resolve(ablation, *ours, *arm.settings, seed=seed)
    if config.run_dir:
        raise ValueError(f"run_dir={config.run_dir}: an ablation gives each run a directory of its own")
    game = check_game(config.env).name
    return GridRun(arm.name, seed, replace(config, env=replace(config.env, game=game)), (*ours, *given))


def _resolve(ablation: Ablation, *settings: str, seed: int) -> Config:
    return resolve(ablation.preset, ablation.game, seed, ablation.gpus, None, (*ablation.settings, *settings))


def _all_values(path: str) -> Factor:
    _check_path(path)
    setting = SETTINGS[path]
    if setting.kind is bool:
        return Factor(path, ("true", "false"))
    if not setting.choices:
        raise ValueError(f"--vary {path}: neither a switch nor a choice, so name its values, as {path}=1,2")
    return Factor(path, setting.choices)


def _check_path(path: str) -> None:
    if path not in SETTINGS:
        raise ValueError(f"--vary {path}: no such setting{near(path, SETTINGS)}")
    if path in ("seed", "run_dir", "preset", "gpus"):
        raise ValueError(f"--vary {path}: not what an ablation can compare")


def _split(values: str) -> tuple[str, ...]:
    """Split at commas outside brackets."""
    parts, depth, start = [], 0, 0
    for place, letter in enumerate(values):
        depth += (letter in "[{") - (letter in "]}")
        if letter == "," and depth == 0:
            parts.append(values[start:place])
            start = place + 1
    return (*parts, values[start:])
