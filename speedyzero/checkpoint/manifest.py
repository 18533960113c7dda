"""The manifest of a checkpoint: size and sha256 of each of its files, written last.

    RUN_DIR/checkpoints/step_XXXXXXXXX/manifest.json          all files of the checkpoint
    RUN_DIR/checkpoints/step_XXXXXXXXX/manifest.WRITER.json   those of one of the processes that write it, until merged
    RUN_DIR/replay/                                           blocks of rows, which consecutive checkpoints share

A directory without manifest.json is not a checkpoint. Files are named relative to the directory. All reads of a
checkpoint's files go through `read_verified`, all deletions through `sweep`.
"""

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from speedyzero.system.atomic_file import write_json

FORMAT_VERSION = 2
WEIGHTS_ONLY_VERSION = 1  # kept its replay in another format: only its weights can be read
MANIFEST_FILE = "manifest.json"
CHECKPOINTS_FOLDER, REPLAY_FOLDER = "checkpoints", "replay"
BLOCK_PREFIX = f"../../{REPLAY_FOLDER}/"
WEIGHTS_FILE, META_FILE = "weights.safetensors", "meta.json"
WEIGHTS_FILES = (WEIGHTS_FILE, META_FILE)
STATE_FILE = "state.json"
"""Listed by every resumable checkpoint, not by one that has only weights."""

Entry = Mapping[str, Any]  # {"bytes": int, "sha256": hexadecimal}


@dataclass(frozen=True)
class Manifest:
    format_version: int
    files: dict[str, Entry]  # by name


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


def entry_of(content: bytes) -> Entry:
    """A file's entry in the manifest."""
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def write_manifest(directory: Path, entries: Mapping[str, Entry], *, writer: str = "") -> None:
    """Finish a checkpoint, or one writer's share of it. entries: `entry_of` each file, by name."""
    write_json(_manifest(directory, writer), {"format_version": FORMAT_VERSION, "files": entries})


def read_manifest(directory: Path, *, writer: str = "") -> Manifest:
    """Raises ValueError, in one line, if the manifest is missing or damaged."""
    path = _manifest(directory, writer)
    try:
        return _decode(path, path.read_bytes())
    except OSError as error:
        raise ValueError(f"no checkpoint in {directory}: {path.name}: {error.strerror}") from error


def read_verified(directory: Path, name: str, entry: Entry) -> bytes:
    """A listed file's content. Raises ValueError, naming the file, if it is missing or differs from its entry."""
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
    return content


def all_listed(run_dir: str | Path) -> set[str]:
    """Every file that a manifest of the run lists, those of unfinished checkpoints' writers included.

    A damaged manifest lists nothing. Raises OSError if one cannot be read.
    """
    listed: set[str] = set()
    for directory in dirs_by_step_descending(run_dir):
        # The manifest last: it is there when a writer's list, merged meanwhile, is not.
        for path in (*directory.glob("manifest.*.json"), directory / MANIFEST_FILE):
            try:
                listed |= _decode(path, path.read_bytes()).files.keys()
            except (FileNotFoundError, ValueError):  # unfinished or deleted; damaged, which a resume reports
                continue
    return listed


def sweep(paths: Iterable[Path], *, kept: Collection[str]) -> None:
    """Delete the files whose names are not kept. Raises OSError if one cannot be deleted."""
    for path in paths:
        if path.name not in kept:
            path.unlink()


def _manifest(directory: Path, writer: str) -> Path:
    return directory / (f"manifest.{writer}.json" if writer else MANIFEST_FILE)


def _decode(path: Path, content: bytes) -> Manifest:
    directory, name = path.parent, path.name
    try:
        manifest = json.loads(content)
    except ValueError as error:
        raise ValueError(f"checkpoint {directory} is damaged: {name} is not JSON") from error
    if not isinstance(manifest, dict) or set(manifest) != {"format_version", "files"}:
        raise ValueError(f"checkpoint {directory} is damaged: {name} is not a manifest")
    version, files = manifest["format_version"], manifest["files"]
    if version not in (FORMAT_VERSION, WEIGHTS_ONLY_VERSION):
        raise ValueError(f"checkpoint {directory} has format version {version!r}; this program reads {FORMAT_VERSION}")
    if not isinstance(files, dict):
        raise ValueError(f"checkpoint {directory} is damaged: {name} does not list its files")
    outside = [file for file in files if Path(file).name != file.removeprefix(BLOCK_PREFIX)]
    if outside:
        raise ValueError(f"checkpoint {directory} is damaged: {name} lists {outside[0]!r} outside of it")
    return Manifest(version, files)
