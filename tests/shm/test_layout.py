import pickle
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pytest

from speedyzero.shm import Field, RecordLayout, Stored


@dataclass(frozen=True)
class Sample:
    frame: np.ndarray  # [3, 5, 7] uint8
    flag: np.ndarray  # [3] bool
    version: int
    value: np.ndarray  # [3, 9] float32
    share: float


@dataclass(frozen=True)
class StoredSample:
    frame: np.ndarray
    flag: Annotated[np.ndarray, Stored("bool", "E")]
    version: Annotated[int, Stored("int64")]
    value: Annotated[np.ndarray, Stored("float32", "E, K+1")]
    share: Annotated[float, Stored("float64")]


FIELDS = {
    "frame": Field("uint8", (3, 5, 7)),
    "flag": Field("bool", (3,)),
    "version": Field("int64"),
    "value": Field("float32", (3, 9)),
    "share": Field("float64"),
}
LAYOUT = RecordLayout.stored(Sample, {}, **FIELDS)


def sample(seed=0):
    rng = np.random.default_rng(seed)
    return Sample(
        rng.integers(0, 256, (3, 5, 7), np.uint8),
        rng.random(3) > 0.5,
        int(rng.integers(1 << 60)),
        rng.random((3, 9), np.float32),
        float(rng.random()),
    )


def test_offsets_by_hand():
    # 105 bytes of frame; 3 flags at 105; int64 at 112; 108 bytes of value on the next line, 128; float64 at 240.
    assert LAYOUT.offsets == (0, 105, 112, 128, 240)
    assert LAYOUT.payload_bytes == 256


def test_copy_in_and_out_through_poisoned_bytes():
    payload = np.full(LAYOUT.payload_bytes, 0xA5, np.uint8)
    record = sample()
    LAYOUT.copy_in(record, LAYOUT.views(payload, writable=True))
    views = LAYOUT.views(payload, writable=False)
    out = LAYOUT.record(views, copied=True)
    payload[:] = 0
    for name in FIELDS:
        assert np.array_equal(getattr(out, name), getattr(record, name))
        assert np.asarray(getattr(out, name)).dtype == FIELDS[name].dtype
    assert isinstance(out.version, int) and isinstance(out.share, float)
    assert out.version != 0 and LAYOUT.record(views).version == 0
    with pytest.raises(ValueError):
        views.value[0] = 1.0


def test_equal_over_pickle_and_different_for_other_types():
    assert pickle.loads(pickle.dumps(LAYOUT)) == LAYOUT
    assert LAYOUT.schema == pickle.loads(pickle.dumps(LAYOUT)).schema
    other = RecordLayout.stored(Sample, {}, **(FIELDS | {"flag": Field("uint8", (3,))}))
    assert other.payload_bytes == LAYOUT.payload_bytes and other.schema != LAYOUT.schema


def test_as_its_fields_are_annotated():
    layout = RecordLayout.stored(StoredSample, {"E": 3, "K+1": 9}, frame=FIELDS["frame"])
    assert layout.fields == LAYOUT.fields
    with pytest.raises(KeyError, match="frame"):
        RecordLayout.stored(StoredSample, {"E": 3, "K+1": 9})
    with pytest.raises(KeyError, match="K"):
        RecordLayout.stored(StoredSample, {"E": 3}, frame=FIELDS["frame"])


def test_what_does_not_fit_is_refused():
    views = LAYOUT.views(np.zeros(LAYOUT.payload_bytes, np.uint8), writable=True)
    good = sample()
    for change, message in (
        ({"value": np.zeros((3, 8), np.float32)}, r"\(3, 8\), not \(3, 9\)"),
        ({"value": 1.0}, r"\(\), not \(3, 9\)"),
        ({"version": 1.5}, "version"),
        ({"frame": good.frame.astype(np.float32)}, "frame"),
    ):
        with pytest.raises(ValueError, match=message):
            LAYOUT.copy_in(Sample(**(vars(good) | change)), views)
