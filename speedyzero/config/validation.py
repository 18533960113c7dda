"""Constraints on a `Config`: the range of each setting and the conditions across stages.

`documents.assemble` validates every config. Constraints of the placement are in `placement.py`.
"""

from __future__ import annotations

import math

from speedyzero.config import Config, get


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


_POSITIVE = (
    "env.image_size_px env.stack env.frame_skip env.noop_max env.train_limit_frames env.eval_limit_frames "
    "model.stem_channels model.latent_channels model.reduced_channels model.head_hidden model.lstm_hidden "
    "model.projector_hidden model.projector_out model.predictor_hidden model.mlp_hidden model.mlp_latent "
    "model.value_codec.limit model.value_codec.step model.prefix_codec.limit model.prefix_codec.step "
    "search.num_simulations search.max_considered_actions search.value_delta_max search.root_dirichlet_alpha "
    "search.pb_c_base search.min_q_range "
    "actor.envs replay.capacity_steps target.td_steps target.interval_samples "
    "reanalyze.search_batch reanalyze.ahead_batch refresh.slice "
    "learner.batch_size learner.consistency_every learner.gradient_clip learner.publish_interval_samples "
    "optimizer.learning_rate optimizer.trust optimizer.clip optimizer.eps optimizer.decay_fraction "
    "schedule.env_steps schedule.train_steps "
    "schedule.head_start_env_steps evaluate.episodes evaluate.interval_episodes evaluate.parallel_envs "
    "supervisor.silent_s supervisor.hang_s supervisor.start_s supervisor.record_interval_s"
).split()
_NOT_NEGATIVE = (
    "seed gpus cpu_threads actor.actors replay.shards learner.ranks target.unroll_steps search.prefix_horizon "
    "target.td_decay_fraction refresh.per_sample learner.shift_px learner.intensity_scale "
    "optimizer.weight_decay optimizer.decay_factor schedule.frozen_train_steps schedule.pacing_slack_env_steps "
    "evaluate.interval_train_steps evaluate.num_simulations "
    "checkpoint.interval_minutes checkpoint.interval_train_steps checkpoint.keep_last checkpoint.restarts "
    "supervisor.max_restarts "
    "replay.alpha learner.prefix_coefficient learner.value_coefficient learner.policy_coefficient "
    "learner.consistency_coefficient learner.consistency_steps search.gumbel_scale "
    "search.pb_c_init search.c_visit search.c_scale"
).split()
_FRACTIONS = (
    "env.sticky_actions search.discount search.root_noise_fraction "
    "replay.beta_start replay.beta_end replay.uniform_share "
    "reanalyze.policy_share target.mixed_start_fraction target.mixed_fresh_fraction "
    "learner.dynamics_gradient_scale optimizer.momentum optimizer.warmup_fraction"
).split()


def _validate_ranges(config: Config) -> None:
    for path in _POSITIVE:
        if not 0 < get(config, path) < math.inf:
            raise ValueError(f"{path}={get(config, path)}: must be above 0 and finite")
    for path in _NOT_NEGATIVE:
        if not 0 <= get(config, path) < math.inf:
            raise ValueError(f"{path}={get(config, path)}: must be 0 or more and finite")
    for path in _FRACTIONS:
        if not 0 <= get(config, path) <= 1:
            raise ValueError(f"{path}={get(config, path)}: must be between 0 and 1")
    if any(not 0 < temperature < math.inf for temperature in config.actor.temperatures):
        raise ValueError(f"actor.temperatures={config.actor.temperatures}: each must be above 0 and finite")
    if any(not 0 <= fraction <= 1 for fraction in config.actor.temperature_changes):
        raise ValueError(f"actor.temperature_changes={config.actor.temperature_changes}: each between 0 and 1")
