"""What `validate` refuses, and that it looks at every number."""

import dataclasses
import math
from typing import Any

import pytest

from speedyzero.config import CodecConfig, Config, EnvConfig
from speedyzero.config.declare import RANGES
from speedyzero.config.settings import SETTINGS
from speedyzero.config.validation import validate
from tests.refusal import refusal

NUMBERS = [path for path, setting in SETTINGS.items() if setting.kind in (int, float)]


def changed(config: Any, path: str, value: Any) -> Any:
    """A copy with the value at a dotted path replaced."""
    name, _, rest = path.partition(".")
    return dataclasses.replace(config, **{name: changed(getattr(config, name), rest, value) if rest else value})


def test_every_number_has_one_range():
    assert [path for path, setting in SETTINGS.items() if setting.range in RANGES] == NUMBERS


@pytest.mark.parametrize("path", NUMBERS)
@pytest.mark.parametrize("value", [-1, math.inf, math.nan])
def test_no_number_may_be_negative_or_not_finite(path: str, value: float):
    assert refusal(validate, changed(Config(), path, value)).startswith(f"{path}=")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"search.prefix_horizon": 6}, ["search.prefix_horizon=6", "target.unroll_steps=5"]),
        ({"search.backend": "triton"}, ["search.backend=triton", "needs a GPU", "gpus=0"]),
        ({"search.min_max": "depth_first", "gpus": 1}, ["search.min_max=depth_first", "gpus"]),
        ({"search.min_max": "depth_first", "search.algorithm": "gumbel"}, ["search.min_max=depth_first", "gumbel"]),
        ({"search.backend": "numba", "gpus": 1}, ["search.backend=numba", "gpus=1"]),
        ({"model.value_codec": CodecConfig(limit=1.0, step=0.3)}, ["model.value_codec.limit=1.0", "step=0.3"]),
        ({"actor.temperatures": (1.0, 0.5)}, ["actor.temperatures has 2", "actor.temperature_changes 0"]),
        ({"actor.temperatures": (0.0,)}, ["actor.temperatures=(0.0,)"]),
        ({"actor.temperatures": (1.0, 0.5, 0.1), "actor.temperature_changes": (0.5, 0.2)}, ["must rise"]),
        ({"actor.temperatures": (1.0, 0.5), "actor.temperature_changes": (1.5,)}, ["between 0 and 1"]),
        ({"schedule.head_start_env_steps": 100_000}, ["=100000 >= schedule.env_steps=100000"]),
    ],
)
def test_what_cannot_work_together_is_refused_with_both_values(changes: dict[str, Any], named: list[str]):
    config = Config()
    for path, value in changes.items():
        config = changed(config, path, value)
    line = refusal(validate, config)
    assert all(words in line for words in named)


def test_triton_searches_on_gpus():
    validate(Config())
    validate(changed(changed(Config(), "search.backend", "triton"), "gpus", 1))


def test_a_config_can_be_a_key():
    """Also with a game's arguments, which are a dictionary."""
    config = Config(env=EnvConfig(kwargs={"size": 5}))
    assert {config: 1}[dataclasses.replace(config)] == 1
