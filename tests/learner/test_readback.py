"""Numbers that the host reads one step later."""

import pytest
import torch

from speedyzero.learner.readback import Readback


def test_a_receipt_holds_what_was_sent_then():
    """One step late, and at once; what came out is the reader's own."""
    source = torch.zeros(3)
    readback, receipts, read = Readback(source), [], []
    for step in range(6):
        source.fill_(float(step))
        receipts.append(readback.send())
        if step:
            read.append(receipts[step - 1]())
    read.append(receipts[5]())
    assert [numbers.tolist() for numbers in read] == [[float(step)] * 3 for step in range(6)]


def test_a_receipt_that_comes_too_late_is_refused():
    readback = Readback(torch.zeros(3))
    first = readback.send()
    readback.send()
    first()  # still there
    readback.send()
    with pytest.raises(RuntimeError, match="result 0 was overwritten by result 2"):
        first()
