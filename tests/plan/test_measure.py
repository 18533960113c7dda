"""Costs that are measured here, by a real run of a few train steps."""

from dataclasses import fields

import pytest

from speedyzero import cli
from speedyzero.arguments.resolve import resolve
from speedyzero.plan.measure import measured


@pytest.fixture
def small() -> list[str]:
    return ["search.num_simulations=2", "learner.batch_size=8", "reanalyze.search_batch=8"]


def test_every_cost_of_a_small_run_is_found(small):
    costs = measured(resolve("catch", "Catch", 0, 0, None, small))
    found = {field.name: getattr(costs, field.name) for field in fields(costs) if field.name.endswith("_s")}
    assert all(cost >= 0 for cost in found.values()), found
    assert min(costs.search_s, costs.value_s, costs.sample_s, costs.host_env_step_s) > 0


def test_a_plan_without_a_gpu_is_printed(small, capsys):
    words = ["plan", "--game", "Catch", "--preset", "catch", "--gpus", "0", *small]
    assert cli.run(cli.check_command, words, prog="speedyzero") == cli.DONE
    printed = capsys.readouterr().out
    assert "bottleneck   " in printed and "measured" in printed
