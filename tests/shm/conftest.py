"""A run of its own for each test, of which nothing is left afterwards."""

import pytest

from speedyzero.shm import Run, remove_run


@pytest.fixture
def run():
    run = Run.new()
    yield run
    remove_run(run)


@pytest.fixture
def disk_run(tmp_path):
    """The same with its segments as plain files."""
    run = Run.new(tmp_path)
    yield run
    remove_run(run)
