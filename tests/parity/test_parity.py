"""The numbers that EfficientZero's own code gives for fixed weights, batch, episode and search (golden.json says how).

Parity ends where part A of the design differs: bootstraps past an end, the root's share in the search's value.
"""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from speedyzero.arguments.resolve import resolve
from speedyzero.config import Config, LearnerConfig, SearchConfig
from speedyzero.learner.batch import Batch
from speedyzero.learner.batch_loss import BatchLoss
from speedyzero.learner.loss import Loss
from speedyzero.model.codec import ScalarCodec
from speedyzero.model.efficientzero import EfficientZeroNetwork
from speedyzero.reanalyze.targets import assemble_values, plan_targets
from speedyzero.replay.shard import Shard, ShardShape
from speedyzero.search import search
from tests.parity.inputs import (
    ACTIONS,
    DISCOUNT,
    MODEL,
    ROOTS,
    SIMULATIONS,
    STACK,
    UNROLL,
    fixed_batch,
    fixed_episode,
    fixed_network,
    fixed_noise,
)
from tests.replay.episodes import GAME_OVER, NUM_ACTIONS, SPEC, Lane, tick
from tests.search.models import TableModel, root_states

GOLDEN = json.loads((Path(__file__).parent / "golden.json").read_text())


def trained() -> tuple[EfficientZeroNetwork, Loss]:
    """The network after one forward and backward pass of the fixed batch."""
    learner = LearnerConfig(shift_px=0, intensity_scale=0.0)
    network, drawn = fixed_network(), fixed_batch()
    frames = torch.from_numpy(drawn.pop("frames")) / 255.0
    stacks = [frames[:, j : j + STACK].flatten(1, 2) for j in range(UNROLL + 1)]
    batch = Batch(root=stacks[0], following=tuple(stacks[1:]), **{k: torch.from_numpy(v) for k, v in drawn.items()})
    loss = BatchLoss(Config(model=MODEL, learner=learner), network, device=torch.device("cpu"))(batch)
    loss.total.backward()
    return network, loss


def test_loss_and_priorities():
    _, loss = trained()
    for name in ("policy", "prefix", "value", "consistency"):
        assert getattr(loss, name).item() == pytest.approx(GOLDEN["loss"][name], rel=1e-5), name
    # The original divides the gradient by the unroll steps, not the loss that it reports.
    assert loss.total.item() * UNROLL == pytest.approx(GOLDEN["loss"]["total"], rel=1e-5)
    priority = (loss.root_value - torch.from_numpy(fixed_batch()["value"][:, 0])).abs() + 1e-6
    assert priority.tolist() == pytest.approx(GOLDEN["priority"], rel=1e-4)


def test_gradients():
    network, _ = trained()
    found = {name: parameter.grad.norm().item() for name, parameter in network.named_parameters()}
    assert found == pytest.approx(GOLDEN["gradient"], rel=2e-3, abs=1e-5)


@pytest.mark.parametrize("statistic", ["running_mean", "running_var"])
def test_running_statistics_of_dynamics_and_prediction(statistic):
    """They decide every bootstrap and search: the heads see the target views between the unrolled states."""
    network, _ = trained()
    found = dict(network.named_buffers())
    assert {name: found[name].norm().item() for name in GOLDEN[statistic]} == pytest.approx(GOLDEN[statistic], rel=2e-5)


def test_root_inference_after_the_pass():
    """The representation's own statistics see the same frames in another order, which the tolerance allows."""
    network, _ = trained()
    frames = torch.from_numpy(fixed_batch()["frames"][:, :STACK]).flatten(1, 2) / 255.0
    with torch.no_grad():
        found = network.eval().predict(network.represent(frames))
    value = ScalarCodec(MODEL.value_codec).decode(found.value_logits)
    assert value.tolist() == pytest.approx(GOLDEN["root_value_after"], abs=0.005)
    np.testing.assert_allclose(found.policy_logits, GOLDEN["root_logits_after"], atol=0.005)


def test_targets():
    episode = fixed_episode()
    lane = Lane().add([0] * len(episode["reward"]), episode["reward"].tolist(), GAME_OVER)
    shard = Shard(ShardShape(lanes=1, rows=60, spec=SPEC, num_actions=NUM_ACTIONS, stack=STACK, lookahead=UNROLL + 5))
    for row in range(len(lane.rows)):
        shard.append(tick([lane], row))
    position = episode["position"]
    plan = plan_targets(
        shard, np.zeros_like(position), position, episode["td_steps"],
        unroll_steps=UNROLL, discount=DISCOUNT, prefix_horizon=5,
    )  # fmt: skip
    value = episode["value"][np.clip(plan.bootstrap_step, 0, len(episode["value"]) - 1)]
    np.testing.assert_allclose(assemble_values(plan, value), GOLDEN["value_target"], atol=1e-5)
    inside = plan.action_mask > 0
    np.testing.assert_allclose(plan.prefix[inside], np.array(GOLDEN["prefix_target"])[:, :UNROLL][inside], atol=1e-6)


def searched(**changes) -> list[list[int]]:
    model = TableModel.random(77, ACTIONS, has_prefix=True)
    config = SearchConfig(
        **{"num_simulations": SIMULATIONS, "discount": DISCOUNT, "first_pick": "uniform", "backend": "reference",
           "min_max": "depth_first", **changes}
    )  # fmt: skip
    noise = torch.from_numpy(fixed_noise())
    return search(model.root(root_states(5, ROOTS)), model.recurrent, config, noise).visits.tolist()


def test_visit_counts(monkeypatch):
    """With the original's range of Q; by the repaired one they are others."""
    module = importlib.import_module("kernels.puct_select.reference")
    monkeypatch.setattr(module, "pick", lambda seed, root, simulation, depth, count: torch.zeros_like(root))
    assert searched() == GOLDEN["visits"]
    assert searched(min_max="edges") != GOLDEN["visits"]


def test_schedules_of_the_presets():
    """What the original fixes in train steps, as fractions of a run and in samples."""
    original = resolve(preset="efficientzero")
    total = 120_000
    for name in ("efficientzero", "speedyzero", "atari100k"):
        config = resolve(preset=name)
        assert config.actor.temperatures == (1.0, 0.5, 0.25)
        assert [total * change for change in config.actor.temperature_changes] == pytest.approx([50_000, 75_000])
        targets = config.schedule.total_train_steps / config.target_interval
        published = config.schedule.train_steps / config.publish_interval
        assert (targets, published) == {"efficientzero": (600, 1_000)}.get(name, (180, 600))
    assert (original.target_interval, original.publish_interval) == (200, 100)


@pytest.mark.parametrize("name", ["speedyzero", "atari100k"])
def test_rates_of_large_batches(name):
    """Where the clip holds, Clipped LARS is SGD at clip x rate: at most the original's rate scaled with the batch."""
    original, config = resolve(preset="efficientzero"), resolve(preset=name)
    scale = config.learner.batch_size / original.learner.batch_size
    assert config.optimizer.clip * config.optimizer.learning_rate <= scale * original.optimizer.learning_rate
