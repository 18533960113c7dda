"""What a run will take of a GPU: the estimate's order, what it decides, and what a user is told to lower."""

from dataclasses import replace

import pytest

from speedyzero.arguments.resolve import resolve
from speedyzero.config import Config
from speedyzero.env.registry import check_game
from speedyzero.runtime.wiring import Wiring, wire
from speedyzero.shm import Run
from speedyzero.supervisor.gpu_memory import expected_bytes, shortage, with_mirrors_chosen
from speedyzero.system.gpus import Gpu

GB = 10**9


def atari(*settings: str, gpus: int = 1) -> tuple[Config, Wiring]:
    config = replace(resolve("atari100k", "Pong", 0, 0, None, list(settings)), gpus=gpus)
    game = check_game(config.env)
    return config, wire(config, Run.new(), game.spec, game.num_actions)


def cards(free_gb: float, count: int = 1) -> list[Gpu]:
    return [Gpu("a card", int(free_gb * GB), int(free_gb * GB), (8, 9))] * count


def test_the_learner_s_activations_are_most_of_it():
    """15 to 17 GB at a batch of 2,048, and in proportion."""
    parts = expected_bytes(*atari())[0]
    assert 14 * GB < parts["learner-0"] < 18 * GB and max(parts, key=parts.get) == "learner-0"
    quarter = expected_bytes(*atari("learner.batch_size=512"))[0]
    assert 3.5 < parts["learner-0"] / quarter["learner-0"] < 4.05
    assert parts["reanalyzer-0"] == quarter["reanalyzer-0"] > parts["actor-0"]


def test_a_refresh_keeps_no_tree():
    """It is root inference alone, of 2,048 positions: less than a search of 1,024."""
    with_it, without = (expected_bytes(*atari(f"refresh.enabled={on}"))[0]["reanalyzer-0"] for on in ("true", "false"))
    assert 1 * GB < with_it - without < 2.5 * GB


def mirror_chosen(config, wiring, gpus) -> str:
    return with_mirrors_chosen(config, wiring, gpus, expected_bytes(config, wiring)).replay.device_mirror


@pytest.mark.parametrize(("free_gb", "mirror", "told"), [(14, "off", True), (23.5, "off", False), (79, "on", False)])
def test_a_card_of_24_gb_is_decided_by_it(free_gb, mirror, told):
    config, wiring = atari()
    assert mirror_chosen(config, wiring, cards(free_gb)) == mirror
    line = shortage(expected_bytes(config, wiring), cards(free_gb))
    assert bool(line) == told and "\n" not in line
    if told:
        assert "GPU 0 (a card) has 14.0 GB free" in line and line.endswith("lower learner.batch_size")


def test_what_is_set_stays_and_every_gpu_counts():
    for setting in ("on", "off"):
        config, wiring = atari(f"replay.device_mirror={setting}" if setting == "off" else "replay.alpha=0.6")
        config = replace(config, replay=replace(config.replay, device_mirror=setting))
        assert mirror_chosen(config, wiring, cards(1)) == setting
    config, wiring = atari(gpus=2)
    uneven = [*cards(79), *cards(2)]
    assert mirror_chosen(config, wiring, uneven) == "off"
    assert shortage(expected_bytes(config, wiring), uneven).startswith("GPU 1 (a card)")
