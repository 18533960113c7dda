"""The manifest of a checkpoint: size and sha256 of every file in its directory, written last.

    RUN_DIR/checkpoints/step_XXXXXXXXX/manifest.json

A directory without a manifest is not a checkpoint. All reads of a checkpoint's files go through here, so what is
returned has been verified.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from speedyzero.system.atomic_file import write_json

FORMAT_VERSION = 1
MANIFEST_FILE = "manifest.json"
CHECKPOINTS_FOLDER = "checkpoints"


def checkpoint_dir(run_dir: str | Path, step: int) -> Path:
    """The directory of a train step's checkpoint."""
    return Path(run_dir) / CHECKPOINTS_FOLDER / f"step_{step:09}"


def step_of(directory: Path) -> int:
    """The train step in a checkpoint's directory name."""
    return int(directory.name.removeprefix("step_"))


def dirs_by_step_descending(run_dir: str | Path) -> list[Path]:
    """A run's checkpoint directories, highest step first, finished or not."""
    found = (Path(run_dir) / CHECKPOINTS_FOLDER).glob("step_*")
    return sorted((path for path in found if re.fullmatch(r"step_\d{9,}", path.name)), key=step_of, reverse=True)


def is_finished(directory: Path) -> bool:
    """Whether there is a manifest, without verifying it."""
    return (directory / MANIFEST_FILE).exists()


def write_manifest(directory: Path, entries: Mapping[str, Mapping]) -> None:
    """Finish a checkpoint. entries: `entry_of` each file, by name."""
    write_json(directory / MANIFEST_FILE, {"format_version": FORMAT_VERSION, "files": entries})


def read_manifest(directory: Path) -> dict[str, dict]:
    """The manifest's entry of each file, by name. Raises ValueError, in one line, if it is missing or damaged."""
    path = directory / MANIFEST_FILE
    try:
        manifest = json.loads(path.read_bytes())
    except OSError as error:
        raise ValueError(f"no checkpoint in {directory}: {MANIFEST_FILE}: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"checkpoint {directory} is damaged: {MANIFEST_FILE} is not JSON") from error
    if not isinstance(manifest, dict) or set(manifest) != {"format_version", "files"}:
        raise ValueError(f"checkpoint {directory} is damaged: {MANIFEST_FILE} is not a manifest")
    if manifest["format_version"] != FORMAT_VERSION:
        version = manifest["format_version"]
        raise ValueError(f"checkpoint {directory} has format version {version!r}; this program reads {FORMAT_VERSION}")
    files = manifest["files"]
    if not isinstance(files, dict):
        raise ValueError(f"checkpoint {directory} is damaged: {MANIFEST_FILE} does not list its files")
    outside = [name for name in files if Path(name).name != name]
    if outside:
        raise ValueError(f"checkpoint {directory} is damaged: {MANIFEST_FILE} lists {outside[0]!r} outside of it")
    return files


def read_verified(directory: Path, *, required: Collection[str], only: bool = False) -> dict[str, bytes]:
    """The content of every file in the manifest, or of the required files `only`.

    Raises ValueError if a required file is not listed or a file read differs from the manifest.
    """
    entries = read_manifest(directory)
    missing = [name for name in required if name not in entries]
    if missing:
        raise ValueError(f"checkpoint {directory} is damaged: {MANIFEST_FILE} does not list {missing[0]}")
    return dict(_contents(directory, {name: entries[name] for name in (required if only else entries)}))


def verify(directory: Path, *, required: Collection[str]) -> None:
    """`read_verified` all files, one at a time, without returning them."""
    entries = read_manifest(directory)
    read_verified(directory, required=required, only=True)
    for _ in _contents(directory, {name: entry for name, entry in entries.items() if name not in required}):
        pass


def entry_of(content: bytes) -> dict:
    """A file's entry in the manifest."""
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _contents(directory: Path, entries: Mapping[str, dict]) -> Iterator[tuple[str, bytes]]:
    for name, entry in entries.items():
        try:
            content = (directory / name).read_bytes()
        except OSError as error:
            raise ValueError(f"checkpoint {directory} is damaged: {name}: {error.strerror}") from error
        found = entry_of(content)
        if found != entry:
            raise ValueError(
                f"checkpoint {directory} is damaged: {name} has {found['bytes']} bytes, sha256 {found['sha256'][:12]}; "
                f"its manifest says {entry}"
            )
        yield name, content
