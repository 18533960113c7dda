"""Two ranks with half a batch each do what one learner does with the whole batch. Real processes over gloo."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from speedyzero.config import LearnerConfig
from speedyzero.learner.augment import Augment
from speedyzero.learner.group import Agreement, LoneLearner, joined_group
from tests.learner import one_rank

ROOT = Path(__file__).parents[2]
LIMIT_S = 120.0


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[Mapping[str, np.ndarray]]:
    """What each of two ranks saved. The store by which nodes meet is in this process."""
    folder = tmp_path_factory.mktemp("ranks")
    (folder / "meeting").touch(mode=0o600)
    store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    files = [folder / f"{rank}.npz" for rank in range(one_rank.RANKS)]
    command = [sys.executable, "-m", "tests.learner.one_rank", str(folder / "meeting"), str(store.port)]
    processes = [
        subprocess.Popen([*command, str(rank), str(file)], cwd=ROOT, stderr=subprocess.PIPE, text=True)
        for rank, file in enumerate(files)
    ]
    try:
        errors = [process.communicate(timeout=LIMIT_S)[1] for process in processes]
        assert [process.returncode for process in processes] == [0, 0], "\n".join(errors)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return [np.load(file) for file in files]


def test_two_halves_are_one_batch(ranks):
    """The weights after every step, to float tolerance; rank 1, which began differently, took over rank 0's."""
    alone = one_rank.vectors(None, None)
    for step in range(one_rank.STEPS):
        for rank in ranks:
            np.testing.assert_allclose(rank["vectors/weights"][step], alone["weights"][step], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ranks[0]["vectors/losses"], alone["losses"], rtol=1e-5)
    assert len(alone["losses"]) == one_rank.STEPS and len(set(alone["losses"])) == one_rank.STEPS
    both = np.concatenate([rank["vectors/priorities"] for rank in ranks], axis=1)
    np.testing.assert_allclose(both, alone["priorities"], rtol=1e-4, atol=1e-6)


def test_two_nodes_do_what_one_does(ranks):
    """On the same samples. The first rank of each node reports there."""
    for rank in ranks:
        assert rank["nodes/weights"].tobytes() == ranks[0]["vectors/weights"].tobytes()
        np.testing.assert_array_equal(rank["nodes/losses"], ranks[0]["vectors/losses"])


def test_a_rank_says_while_it_waits_for_the_others(ranks):
    """To join, and once a step."""
    for rank in ranks:
        assert rank["nodes/waits"].tolist() == [True, False] * (1 + one_rank.STEPS)


def test_two_halves_are_one_batch_where_outcomes_come_late(ranks):
    """Backward pass and step are two captured parts then, and the averaging lies between them."""
    for rank in ranks:
        for name in ("weights", "priorities"):
            np.testing.assert_allclose(rank[f"late_outcomes/{name}"], rank[f"vectors/{name}"], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("case", ["vectors", "late_outcomes", "one_bad_part"])
def test_ranks_agree_to_the_bit(ranks, case):
    assert ranks[0][f"{case}/weights"].tobytes() == ranks[1][f"{case}/weights"].tobytes()


def test_one_rank_reports_for_all(ranks):
    assert len(ranks[0]["vectors/losses"]) == one_rank.STEPS and len(ranks[1]["vectors/losses"]) == 0


def test_statistics_are_each_ranks_own_until_they_are_averaged(ranks):
    own = [rank["images/own_statistics"] for rank in ranks]
    assert not np.allclose(own[0], own[1])
    for rank in ranks:
        np.testing.assert_allclose(rank["images/statistics"], (own[0] + own[1]) / 2, rtol=1e-5, atol=1e-7)


def test_a_bad_part_on_one_rank_stops_the_step_of_all(ranks):
    for rank in ranks:
        weights = rank["one_bad_part/weights"]
        assert weights[1].tobytes() == weights[0].tobytes() and weights[2].tobytes() != weights[1].tobytes()
        assert len(rank["one_bad_part/priorities"]) == 2


def test_where_one_leaves_all_leave_and_nobody_trains(ranks):
    for rank in ranks:
        assert rank["one_leaves/before"].tobytes() == rank["one_leaves/after"].tobytes()


def test_waiting_for_others_is_measured(ranks):
    assert all(rank["waited_ns"] > 0 for rank in ranks)


def test_all_ranks_save_after_the_step_that_the_first_names(ranks):
    for rank in ranks:
        for case in ("vectors", "nodes"):
            assert rank[f"{case}/saved"].nonzero()[0].tolist() == [one_rank.SAVED]


def test_a_group_ends_before_its_process(ranks):
    """Gloo's threads, left to the interpreter's end, abort one exit in ten."""
    assert all(rank["was_member"] and not rank["is_member"] for rank in ranks)


def test_a_rank_draws_its_rows_of_the_global_batch():
    config = LearnerConfig(shift_px=2, intensity_scale=0.05)
    window = torch.randint(0, 256, (8, 3, 12, 12, 1), dtype=torch.uint8)
    whole = Augment(config, seed=3)(window, train_step=5, view=1)
    halves = [Augment(config, seed=3, rank=r)(window[4 * r : 4 * r + 4], train_step=5, view=1) for r in (0, 1)]
    assert torch.equal(torch.cat(halves), whole)
    assert not torch.equal(Augment(config, seed=3)(window[4:], train_step=5, view=1), whole[4:])


def test_a_lone_learner_needs_no_process_group(tmp_path):
    with joined_group(0, 1, meeting_file=tmp_path / "never", device="cpu") as group:
        assert isinstance(group, LoneLearner) and not torch.distributed.is_initialized()
        assert group.agree(0.5, leaving=False) == Agreement(0.5, leaving=False)
    assert list(tmp_path.iterdir()) == [] and "GLOO_SOCKET_IFNAME" not in os.environ
