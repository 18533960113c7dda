"""Atomic file writes: write a temporary file, fsync, rename."""

import json
import os
from pathlib import Path


def write_atomically(path: str | Path, content: bytes) -> None:
    """Create or replace `path`. A crash at any moment leaves the complete old or new file."""
    path = Path(path)
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(aside, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def write_json(path: str | Path, content: object) -> None:
    """`write_atomically` of strict JSON, indented. Raises ValueError for NaN and infinities."""
    write_atomically(path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())


def sync_directory(path: str | Path) -> None:
    """fsync a directory, so that a rename in it survives a power failure."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
