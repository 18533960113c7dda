"""Where numba keeps what it compiled. It refuses to import a function for whose code it finds no place at all, as in a
read-only install without a home: then a folder of one's own below the temporary one takes its place.

Called when the package is imported, before numba is; the processes of a run inherit the answer.
"""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

VARIABLE = "NUMBA_CACHE_DIR"
_PACKAGE = Path(__file__).resolve().parents[1]


def candidates() -> list[Path]:
    """The folders that numba tries, in its order."""
    if named := os.environ.get(VARIABLE):
        return [Path(named)]
    home = Path(os.path.expanduser("~"))  # stays "~" where nobody knows a home
    cache = os.environ.get("XDG_CACHE_HOME") or (str(home / ".cache") if home.is_absolute() else "")
    return [_PACKAGE / "__pycache__", *([Path(cache) / "numba"] if cache else [])]


def find_a_place() -> None:
    """Name a folder to numba where it would find none."""
    if not any(map(_is_writable, candidates())) and VARIABLE not in os.environ:
        os.environ[VARIABLE] = str(_private_folder())


def _is_writable(path: Path) -> bool:
    """Whether files can be made in a folder that may be made first."""
    nearest = next(folder for folder in (path, *path.parents) if folder.exists())
    read_only = os.statvfs(nearest).f_flag & os.ST_RDONLY  # which root's permissions do not tell
    return nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK) and not read_only


def _private_folder() -> Path:
    """Nobody else may write there: what lies in it is run. The same for all runs of a user, or nothing is kept."""
    path = Path(tempfile.gettempdir()) / f"speedyzero-numba-{os.getuid()}"
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022
    return path if is_ours else Path(tempfile.mkdtemp(prefix="speedyzero-numba-"))
