import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speedyzero.shm.checksum import FOLD_ABOVE_BYTES, checksum


def block_of(size, seed=0):
    return np.random.default_rng(seed).integers(0, 256, size, np.uint8)


@pytest.mark.parametrize("size", [1, 63, 4096, FOLD_ABOVE_BYTES, FOLD_ABOVE_BYTES + 1, 100_000])
def test_every_kind_of_change_is_seen(size):
    block = block_of(size)
    before = checksum(block, 1, 2)
    assert before == checksum(block.copy(), 1, 2)
    assert before not in (checksum(block, 1, 3), checksum(block, 2, 1), checksum(block, 12), checksum(block))
    rng = np.random.default_rng(size)
    for bit in rng.choice(8 * size, min(500, 8 * size), replace=False):
        block[bit // 8] ^= 1 << (bit % 8)
        assert checksum(block, 1, 2) != before
        block[bit // 8] ^= 1 << (bit % 8)


@pytest.mark.parametrize("unit_bytes", [8, 96, 288, 512, 4096, 27_648, 36_864, 65_536])
def test_moved_data_is_seen(unit_bytes):
    """What scrolls by words, picture rows, pages or whole frames keeps the sum of its words."""
    block = block_of(36 * unit_bytes if unit_bytes > 4000 else 147_456)
    right = checksum(block)
    units = block.reshape(-1, unit_bytes)
    for shift in (1, 2, 3, 8):
        assert checksum(np.roll(units, shift, axis=0).reshape(-1)) != right
    for i, j in ((0, 1), (1, 4), (2, 34)):
        swapped = units.copy()
        swapped[[i, j]] = swapped[[j, i]]
        assert checksum(swapped.reshape(-1)) != right


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_any_change_within_4064_bytes_is_seen(data):
    block = block_of(64 * 1024)
    right = checksum(block)
    start = data.draw(st.integers(0, block.size - 4064))
    end = start + data.draw(st.integers(1, 4064))
    block[start:end] = np.random.default_rng(data.draw(st.integers(0, 1000)) + 1).permutation(block[start:end]) ^ 1
    assert checksum(block) != right


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_two_words_that_cancel_in_the_plain_sum_are_seen(data):
    words = block_of(64 * 1024).view(np.uint64)
    right = checksum(words.view(np.uint8))
    i = data.draw(st.integers(0, words.size - 1))
    j = data.draw(st.integers(0, words.size - 1).filter(lambda j: (i - j) % 509))
    delta = data.draw(st.integers(1, 2**64 - 1))
    words[i] = (int(words[i]) + delta) % 2**64
    words[j] = (int(words[j]) - delta) % 2**64
    assert checksum(words.view(np.uint8)) != right
