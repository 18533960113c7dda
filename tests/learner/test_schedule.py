"""Schedules by hand: EfficientZero's numbers, and those of its large-batch descendant."""

import pytest

from speedyzero.config import OptimizerConfig, ReplayConfig, ScheduleConfig
from speedyzero.learner.schedule import importance_exponent, learning_rate


@pytest.mark.parametrize(
    ("train_step", "rate"),
    [
        (0, 0.0),  # the first update moves nothing
        (1, 0.0002),
        (500, 0.1),
        (999, 0.1998),
        (1_000, 0.2),
        (100_999, 0.2),
        (101_000, 0.02),
        (119_999, 0.02),
    ],
)
def test_efficientzero_s_rate(train_step, rate):
    """B.7: 1000 of 100k steps of warm-up, a tenth every 100k after it."""
    schedule = ScheduleConfig(train_steps=100_000, frozen_train_steps=20_000)
    assert learning_rate(OptimizerConfig(), schedule, train_step) == pytest.approx(rate, rel=1e-12)


@pytest.mark.parametrize(("train_step", "rate"), [(0, 0.0), (600, 0.2), (1_200, 0.4), (13_699, 0.4), (13_701, 0.04)])
def test_large_batch_rate(train_step, rate):
    """B.8: 0.4 after 1,200 of 15k steps, decayed every 12,500 after those."""
    config = OptimizerConfig(learning_rate=0.4, warmup_fraction=0.08, decay_fraction=12_500 / 15_000)
    schedule = ScheduleConfig(train_steps=15_000, frozen_train_steps=3_000)
    assert learning_rate(config, schedule, train_step) == pytest.approx(rate, rel=1e-12)


def test_several_decays_and_no_warm_up():
    config = OptimizerConfig(learning_rate=1.0, warmup_fraction=0.0, decay_factor=0.5, decay_fraction=0.25)
    schedule = ScheduleConfig(train_steps=8, frozen_train_steps=2)
    rates = [learning_rate(config, schedule, step) for step in range(10)]
    assert rates == [1, 1, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125, 0.0625, 0.0625]


def test_importance_exponent_rises_over_all_train_steps():
    config, schedule = ReplayConfig(), ScheduleConfig(train_steps=100_000, frozen_train_steps=20_000)
    betas = [importance_exponent(config, schedule, step) for step in (0, 30_000, 60_000, 120_000)]
    assert betas == pytest.approx([0.4, 0.55, 0.7, 1.0])
