"""Learning from pixels in under a minute: Catch drawn on a picture, by the laptop preset's network and settings.

What changes is small beside what is always there, as in an Atari frame. Undone once each: on raw input the run ends at
-0.2 and its policy has 0.001 nats; with layer norm in the projector every position projects alike (cosine 1.0).
"""

from types import SimpleNamespace

import numpy as np
import pytest

from speedyzero.arguments.resolve import resolve
from speedyzero.env import catch, registry
from speedyzero.env.base import GameInfo, ObservationSpec
from speedyzero.supervisor.inline import InlineRun, build_run

NAME = "DrawnCatch"
CELL_HEIGHT, CELL_WIDTH, CONTRAST = 4, 8, 50
SPEC = ObservationSpec((40, 40, 1), np.dtype(np.uint8))
PICTURE = np.random.default_rng(0).integers(100, 180, size=SPEC.shape).astype(np.uint8)
SETTINGS = (
    "schedule.train_steps=1000 schedule.env_steps=32000 schedule.head_start_env_steps=800 env.stack=1 "
    "model.stem_channels=8 model.latent_channels=16 model.mlp_hidden=128 model.mlp_latent=128 "
    "model.projector_hidden=64 model.projector_out=64 model.predictor_hidden=32 search.num_simulations=8 "
    "target.td_steps=9 target.interval_samples=5120 learner.batch_size=128 checkpoint.keep_last=0"
).split()


class DrawnLanes(catch.CatchLanes):
    """Catch with cells of 4x8 pixels, a little brighter or darker than a picture."""

    spec = SPEC

    def _draw(self) -> np.ndarray:
        cells = super()._draw() > 0
        return PICTURE + CONTRAST * cells.repeat(CELL_HEIGHT, 1).repeat(CELL_WIDTH, 2).astype(np.uint8)


FAMILY = SimpleNamespace(
    EXAMPLE=NAME,
    known_names=lambda: (NAME,),
    find=lambda config: GameInfo("catch", NAME, SPEC, catch.NUM_ACTIONS) if config.game == NAME else None,
    make=lambda config, game, *, lanes, seed, first_lane, evaluation, render: DrawnLanes(
        lanes=lanes, seed=seed, first_lane=first_lane
    ),
    action_names=lambda config, game: catch.ACTION_NAMES,
)


def learned(run: InlineRun) -> dict[str, list[float]]:
    """Every figure of a run that is carried to its end."""
    figures: dict[str, list[float]] = {}
    while not run.done:
        run.turn()
        for record in run.edges.metrics.drain():
            figures.setdefault(record.name, []).append(record.value)
    run.close()
    return figures


@pytest.fixture(scope="module")
def figures():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "FAMILIES", (FAMILY, *registry.FAMILIES))
        return learned(build_run(resolve("laptop", NAME, 0, 0, None, SETTINGS)))


def test_it_catches(figures):
    assert np.mean(figures["actor/game_score"][-300:]) > 0.7


def test_it_looks(figures):
    assert figures["actor/value_return_correlation"][-1] > 0.3
    assert np.mean(figures["learner/policy_information"][-20:]) > 0.03


def test_positions_project_apart(figures):
    assert max(figures["learner/projection_similarity"][50:]) < 0.3
