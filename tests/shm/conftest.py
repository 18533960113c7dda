"""The run of a test whose segments are plain files."""

import pytest

from speedyzero.shm import Run, remove_run


@pytest.fixture
def disk_run(tmp_path):
    """As `run`."""
    run = Run.new(tmp_path)
    yield run
    remove_run(run)
