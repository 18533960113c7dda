"""Constraints on a `Config`: the range of each setting and the conditions across stages.

`documents.assemble` validates every config. Constraints of the placement are in `placement.py`.
"""

import math

from speedyzero.config.declare import ABOVE_0, AT_LEAST_0, FROM_0_TO_1
from speedyzero.config.schema import Config, get
from speedyzero.config.settings import SETTINGS


def validate(config: Config) -> None:
    """Raises ValueError, with the setting, its value and what is allowed, for an invalid config."""
    _validate_ranges(config)
    search, target, schedule, actor = config.search, config.target, config.schedule, config.actor
    if search.prefix_horizon > target.unroll_steps:
        raise ValueError(
            f"search.prefix_horizon={search.prefix_horizon} > target.unroll_steps={target.unroll_steps}: "
            "a prefix longer than the unroll is not trained; use at most target.unroll_steps"
        )
    if search.backend == "triton" and config.gpus == 0:
        raise ValueError(f"search.backend=triton needs a GPU, but gpus={config.gpus}; use auto")
    if search.backend == "numba" and config.gpus > 0:
        raise ValueError(f"search.backend=numba runs on the CPU, but gpus={config.gpus}; use auto")
    if search.min_max != "edges" and (search.algorithm != "puct" or config.gpus > 0):
        raise ValueError(
            f"search.min_max={search.min_max} needs search.algorithm=puct and gpus=0, but they are {search.algorithm} "
            f"and {config.gpus}: use edges"
        )
    if config.replay.device_mirror == "on" and config.gpus == 0:
        raise ValueError("replay.device_mirror=on keeps frames on a GPU, but gpus=0; use auto or off")
    for name, codec in (("value_codec", config.model.value_codec), ("prefix_codec", config.model.prefix_codec)):
        if abs(codec.limit / codec.step - round(codec.limit / codec.step)) > 1e-6:
            raise ValueError(f"model.{name}.limit={codec.limit} is not a multiple of model.{name}.step={codec.step}")
    if len(actor.temperatures) != len(actor.temperature_changes) + 1:
        raise ValueError(
            f"actor.temperatures has {len(actor.temperatures)} entries and actor.temperature_changes "
            f"{len(actor.temperature_changes)}: give one temperature more than changes"
        )
    if list(actor.temperature_changes) != sorted(actor.temperature_changes):
        raise ValueError(f"actor.temperature_changes={actor.temperature_changes} must rise")
    if schedule.head_start_env_steps >= schedule.env_steps:
        raise ValueError(
            f"schedule.head_start_env_steps={schedule.head_start_env_steps} >= "
            f"schedule.env_steps={schedule.env_steps}: nothing would be left to play"
        )


def _validate_ranges(config: Config) -> None:
    for path, setting in SETTINGS.items():
        value = get(config, path)
        if setting.range == ABOVE_0 and not 0 < value < math.inf:
            raise ValueError(f"{path}={value}: must be above 0 and finite")
        if setting.range == AT_LEAST_0 and not 0 <= value < math.inf:
            raise ValueError(f"{path}={value}: must be 0 or more and finite")
        if setting.range == FROM_0_TO_1 and not 0 <= value <= 1:
            raise ValueError(f"{path}={value}: must be between 0 and 1")
    if any(not 0 < temperature < math.inf for temperature in config.actor.temperatures):
        raise ValueError(f"actor.temperatures={config.actor.temperatures}: each must be above 0 and finite")
    if any(not 0 <= fraction <= 1 for fraction in config.actor.temperature_changes):
        raise ValueError(f"actor.temperature_changes={config.actor.temperature_changes}: each between 0 and 1")
