"""What some fault tests need of the machine: root. Elsewhere they are skipped; where CI is to run all, they fail."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

NOBODY = 65_534


@contextmanager
def as_nobody() -> Iterator[None]:
    """With another user's rights."""
    need_root("become another user")
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def need_root(why: str) -> None:
    if os.geteuid() != 0:
        go_without(f"only root can {why}")


def go_without(reason: str) -> None:
    """Skip the test that calls; with CI=true fail it, for what CI skips nobody tests."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI must not skip this: {reason}")
    pytest.skip(reason)
