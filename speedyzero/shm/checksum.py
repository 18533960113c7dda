"""The checksum of a block of shared memory: crc32, of the block or of its column sums.

zlib's crc32 reads 3 to 7 GB/s, a copy 30 GB/s: crc32 alone would make a ring of 1 MiB records five times slower. A long
block is therefore folded first, at 60 GB/s: its 64-bit words form a table of 509 columns, and crc32 reads the columns'
sums modulo 2^64. This detects every change within 4064 consecutive bytes, but not changes of words a multiple of 4072
bytes apart that cancel. 509 is prime, so that no stride of real data (image rows, pages, powers of two) falls into one
column. The checksum detects torn writes and bugs, not an adversary.
"""

import zlib

import numpy as np

FOLD_ABOVE_BYTES = 32_768
_COLUMNS = 509
_ROW_BYTES = 8 * _COLUMNS


def checksum(block: np.ndarray, *stamps: int) -> int:
    """32-bit checksum of a block, [n] uint8 contiguous and 8-byte aligned, and of the integers stamped on it."""
    crc = zlib.crc32(repr(stamps).encode())
    folded_bytes = 0
    if block.size > FOLD_ABOVE_BYTES:
        folded_bytes = block.size - block.size % _ROW_BYTES
        table = block[:folded_bytes].view(np.uint64).reshape(-1, _COLUMNS)
        crc = zlib.crc32(np.add.reduce(table, axis=0), crc)
    return zlib.crc32(block[folded_bytes:].data, crc)
