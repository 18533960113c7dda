"""How many processes on which devices, who meets whom, and what does not divide."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speedyzero.config import Config, PlacementConfig
from speedyzero.config.placement import Feed, Placement, place
from tests.reanalyze.tiny import changed
from tests.refusal import refusal

BASE = Config()  # batch 256, 16 environments an actor
COLOCATED = PlacementConfig()


def placed(
    gpus: int = 0, *, actors: int = 0, shards: int = 0, ranks: int = 0, named: PlacementConfig = COLOCATED
) -> Placement:
    config = changed(BASE, actor={"actors": actors}, replay={"shards": shards}, learner={"ranks": ranks})
    return place(replace(config, gpus=gpus, placement=named))


def test_the_cpu_has_one_of_each():
    assert placed() == Placement(actors=("cpu",), shards=("cpu",), learners=("cpu",))
    assert placed().feeds == (Feed(shard=0, learner=0),)


def test_on_the_cpu_there_may_be_more():
    placement = placed(actors=4, shards=2, ranks=2)
    assert (len(placement.actors), len(placement.shards), len(placement.learners)) == (4, 2, 2)
    assert placement.actors_of(0) == (0, 2) and placement.actors_of(1) == (1, 3)
    assert len(placed(shards=2).actors) == 2  # one a shard


@pytest.mark.parametrize("kind", ["auto", "colocated"])
@pytest.mark.parametrize("gpus", [1, 4, 8])
def test_colocated_every_gpu_hosts_one_of_each(kind, gpus):
    everywhere = tuple(f"cuda:{gpu}" for gpu in range(gpus))
    assert placed(gpus, named=PlacementConfig(kind)) == Placement(everywhere, everywhere, everywhere)


@pytest.mark.parametrize(("gpus", "hosts"), [(2, 1), (4, 1), (8, 1), (16, 2)])
def test_split_keeps_the_last_gpus_for_data(gpus, hosts):
    config = replace(changed(BASE, learner={"batch_size": 14 * 3 * 7}), gpus=gpus, placement=PlacementConfig("split"))
    placement = place(config)
    data = tuple(f"cuda:{gpu}" for gpu in range(gpus - hosts, gpus))
    assert placement.learners == tuple(f"cuda:{gpu}" for gpu in range(gpus - hosts))
    assert placement.shards == placement.actors == data


def test_explicit_lists_name_the_gpus():
    placement = placed(4, named=PlacementConfig(learners=(0, 1), shards=(3, 2), actors=(2, 3, 3, 2)))
    actors = ("cuda:2", "cuda:3", "cuda:3", "cuda:2")
    assert placement == Placement(actors, shards=("cuda:3", "cuda:2"), learners=("cuda:0", "cuda:1"))
    # Those not named are as usual.
    placement = placed(4, named=PlacementConfig(learners=(0, 1)))
    assert placement.learners == ("cuda:0", "cuda:1") and len(placement.shards) == len(placement.actors) == 4


@pytest.mark.parametrize(
    ("shards", "learners", "pairs"),
    [
        (1, 1, [(0, 0)]),
        (1, 3, [(0, 0), (0, 1), (0, 2)]),
        (2, 4, [(0, 0), (1, 1), (0, 2), (1, 3)]),
        (4, 2, [(0, 0), (2, 0), (1, 1), (3, 1)]),
    ],
)
def test_who_draws_from_whom(shards, learners, pairs):
    placement = Placement(actors=("cpu",) * shards, shards=("cpu",) * shards, learners=("cpu",) * learners)
    assert [(feed.shard, feed.learner) for feed in placement.feeds] == pairs
    assert placement.part_of(64 * len(pairs)) == 64


@given(st.integers(0, 4), st.integers(0, 4), st.booleans())
def test_every_shard_and_every_learner_has_an_equal_part(small, times, more_shards):
    few, many = small + 1, (small + 1) * (times + 1)
    shards, learners = (many, few) if more_shards else (few, many)
    placement = Placement(actors=("cpu",) * shards, shards=("cpu",) * shards, learners=("cpu",) * learners)
    for name, count in (("shard", shards), ("learner", learners)):
        parts = [sum(getattr(feed, name) == i for feed in placement.feeds) for i in range(count)]
        assert parts == [many // count] * count


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"actors": 3, "shards": 2}, ["actor.actors=3", "replay.shards=2"]),
        ({"shards": 2, "ranks": 3}, ["replay.shards=2", "learner.ranks=3", "neither divides"]),
        ({"ranks": 3}, ["learner.batch_size=256", "3 equal parts"]),
        ({"named": PlacementConfig("split")}, ["placement.kind=split", "gpus=0"]),
        ({"gpus": 1, "named": PlacementConfig("split")}, ["placement.kind=split", "gpus=1"]),
        ({"gpus": 2, "named": PlacementConfig(learners=(0, 2))}, ["GPU 2", "gpus=2"]),
        ({"named": PlacementConfig(learners=(0,))}, ["[0]", "gpus=0"]),
        ({"gpus": 2, "ranks": 3, "named": PlacementConfig(learners=(0, 1))}, ["learner.ranks=3", "2 GPUs"]),
        ({"gpus": 2, "ranks": 4}, ["learner.ranks=4", "cuda:0", "one rank a GPU"]),
    ],
)
def test_what_does_not_divide_is_refused_with_the_numbers(arguments, words):
    line = refusal(placed, **arguments)
    assert all(word in line for word in words)


@pytest.mark.parametrize(
    ("stage", "setting", "least"),
    [("schedule", "head_start_env_steps", 240), ("replay", "capacity_steps", 480)],  # 16 envs * (5 + 5 + 4 + 1)
)
def test_room_for_a_sample_in_every_lane(stage, setting, least):
    place(changed(BASE, **{stage: {setting: least}}))
    line = refusal(place, changed(BASE, **{stage: {setting: least - 1}}))
    assert f"{stage}.{setting}={least - 1} < {least}" in line
    two_actors = changed(BASE, **{stage: {setting: least}}, actor={"actors": 2})  # have twice the lanes
    assert f"{setting}={least} < {2 * least}" in refusal(place, two_actors)


def test_every_nth_sample_is_of_the_same_number_in_each_shard_s_part():
    third = changed(BASE, learner={"consistency_every": 3})
    place(third)
    line = refusal(place, changed(third, replay={"shards": 2}))
    assert all(word in line for word in ("learner.consistency_every=3", "128 samples", "replay.shards=2"))
