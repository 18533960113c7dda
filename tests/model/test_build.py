"""Which network an observation gets, and how many threads."""

import os
from dataclasses import replace

import numpy as np
import pytest
import torch

from speedyzero.config import ModelConfig
from speedyzero.env.base import ObservationSpec
from speedyzero.model.build import build_network
from speedyzero.model.kind import network_kind
from speedyzero.model.threads import threads_for
from tests.model.networks import IMAGE_SPEC, TINY_MODEL, VECTOR_SPEC, tiny_config
from tests.refusal import refusal


def image(height: int, width: int) -> ObservationSpec:
    return ObservationSpec(shape=(height, width, 1), dtype=np.dtype(np.uint8))


@pytest.mark.parametrize(
    ("spec", "kind"),
    [
        (image(32, 32), "efficientzero"),
        (image(31, 31), "mlp"),
        (image(96, 95), "mlp"),
        (image(10, 5), "mlp"),
        (VECTOR_SPEC, "mlp"),
    ],
)
def test_auto_follows_the_observation(spec, kind):
    assert network_kind(tiny_config(), spec) == kind


def test_what_is_asked_for_is_built_or_refused():
    asked = tiny_config(model=replace(TINY_MODEL, network="efficientzero"))
    assert network_kind(asked, image(32, 32)) == "efficientzero"
    assert "(31, 31, 1)" in refusal(build_network, asked, image(31, 31), 3)
    assert "(3,)" in refusal(build_network, asked, VECTOR_SPEC, 3)
    assert network_kind(tiny_config(model=replace(TINY_MODEL, network="mlp")), image(96, 96)) == "mlp"


def test_an_mlp_reads_whatever_the_stack_holds():
    network = build_network(tiny_config(), ObservationSpec(shape=(10, 5, 3), dtype=np.dtype(np.uint8)), 3)
    assert network.represent(torch.rand(2, 6, 10, 5)).shape == (2, TINY_MODEL.mlp_latent)


def test_convolutions_lie_channels_last():
    network = build_network(tiny_config(model=ModelConfig()), IMAGE_SPEC, 3)
    assert network.representation.stem.layer.weight.is_contiguous(memory_format=torch.channels_last)


def test_threads():
    cores = len(os.sched_getaffinity(0))
    assert threads_for(tiny_config(), IMAGE_SPEC) == cores
    assert threads_for(tiny_config(), VECTOR_SPEC) == 1
    assert threads_for(tiny_config(cpu_threads=3), VECTOR_SPEC) == 3
