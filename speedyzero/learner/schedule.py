"""Schedules over a run's train steps, in fractions of the run."""

from speedyzero.config import OptimizerConfig, ReplayConfig, ScheduleConfig


def learning_rate(config: OptimizerConfig, schedule: ScheduleConfig, train_step: int) -> float:
    """Linear warm-up from 0, then times decay_factor every decay_fraction of the main train steps. B.7."""
    warmup_steps = config.warmup_fraction * schedule.train_steps
    if train_step < warmup_steps:
        return config.learning_rate * train_step / warmup_steps
    decays = (train_step - warmup_steps) // (config.decay_fraction * schedule.train_steps)
    return config.learning_rate * config.decay_factor**decays


def importance_exponent(config: ReplayConfig, schedule: ScheduleConfig, train_step: int) -> float:
    """beta, linear over all train steps."""
    progress = train_step / schedule.total_train_steps
    return config.beta_start + (config.beta_end - config.beta_start) * progress
