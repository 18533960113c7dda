"""Numbers that the host reads one step later."""

import pytest
import torch

from speedyzero.learner.readback import Readback


def test_a_receipt_that_comes_too_late_is_refused():
    readback = Readback(torch.zeros(3))
    first = readback.send()
    readback.send()
    first()  # still there
    readback.send()
    with pytest.raises(RuntimeError, match="result 0 was overwritten by result 2"):
        first()
