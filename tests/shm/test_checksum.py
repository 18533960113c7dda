import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speedyzero.shm.checksum import FOLD_ABOVE_BYTES, checksum

SIZES = [1, 8, 63, 64, 4096, FOLD_ABOVE_BYTES, FOLD_ABOVE_BYTES + 1, FOLD_ABOVE_BYTES + 4096, 100_000]


def block_of(size, seed=0):
    return np.random.default_rng(seed).integers(0, 256, size, np.uint8)


@pytest.mark.parametrize("size", SIZES)
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


@pytest.mark.parametrize("size", [4096, 100_000])
def test_torn_blocks_are_seen(size):
    old, new = block_of(size, 1), block_of(size, 2)
    right = checksum(new)
    for written in range(0, size, 997):
        assert checksum(np.concatenate([new[:written], old[written:]])) != right


def test_moved_words_are_seen():
    """A picture that scrolls by whole words, rows or blocks keeps the sum of its words."""
    words = block_of(128 * 1024).view(np.uint64)
    right = checksum(words.view(np.uint8))
    for shift in (1, 7, 512, 513, 1024, 5120):
        assert checksum(np.roll(words, shift).view(np.uint8)) != right
    for columns in (512, 64):
        table = words.reshape(-1, columns).copy()
        table[[3, 9]] = table[[9, 3]]
        assert checksum(table.reshape(-1).view(np.uint8)) != right


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_up_to_three_changed_words_are_seen(data):
    words = block_of(64 * 1024).view(np.uint64)
    right = checksum(words.view(np.uint8))
    at = data.draw(st.lists(st.integers(0, words.size - 1), min_size=1, max_size=3, unique=True))
    delta = data.draw(st.integers(1, 2**64 - 1))
    for sign, index in zip((1, -1, 1), at, strict=False):  # changes that cancel in the plain sum
        words[index] = (int(words[index]) + sign * delta) % 2**64
    assert checksum(words.view(np.uint8)) != right
