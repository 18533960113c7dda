import numpy as np
import pytest

from speedyzero.shm.copying import PIECE_BYTES, copy_into


@pytest.mark.parametrize("size", [1, PIECE_BYTES // 4, PIECE_BYTES // 4 + 1, PIECE_BYTES + 3])
def test_every_element_arrives(size):
    source = np.random.default_rng(size).random((size, 3)).astype(np.float32)
    for given in (source, np.asfortranarray(source), source.astype(np.float64)):
        memory = np.full((size + 2, 3), np.nan, np.float32)
        copy_into(memory[1:-1], given)
        assert np.array_equal(memory[1:-1], source) and np.isnan(memory[[0, -1]]).all()


@pytest.mark.parametrize("source", [np.zeros((2, 4)), np.zeros(3), 0.0])
def test_nothing_is_broadcast(source):
    with pytest.raises(ValueError, match=r"not \(2, 3\)"):
        copy_into(np.zeros((2, 3)), source)


@pytest.mark.parametrize("size", [3, PIECE_BYTES])
def test_nothing_is_cast_to_a_smaller_kind(size):
    with pytest.raises(TypeError):
        copy_into(np.zeros(size, np.int64), np.zeros(size))
