"""What some fault tests need of the machine: root. Elsewhere they are skipped; where CI is to run all, they fail."""

from __future__ import annotations

import os

import pytest


def need_root(why: str) -> None:
    if os.geteuid() != 0:
        go_without(f"only root can {why}")


def go_without(reason: str) -> None:
    """Skip the test that calls; with CI=true fail it, for what CI skips nobody tests."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI must not skip this: {reason}")
    pytest.skip(reason)
