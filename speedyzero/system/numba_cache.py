"""The folder of numba's compilation cache.

Without a writable folder, as in a read-only install without a home, numba cannot import cached functions; a private
folder in the temporary directory is then used. Called when the package is imported, before numba; a run's processes
inherit the setting.
"""

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
    home = Path(os.path.expanduser("~"))  # stays "~" if there is no home
    cache = os.environ.get("XDG_CACHE_HOME") or (str(home / ".cache") if home.is_absolute() else "")
    return [_PACKAGE / "__pycache__", *([Path(cache) / "numba"] if cache else [])]


def find_a_place() -> None:
    """Set a folder for numba if it would find none."""
    if not any(map(_is_writable, candidates())) and VARIABLE not in os.environ:
        os.environ[VARIABLE] = str(_private_folder())


def _is_writable(path: Path) -> bool:
    """Whether files can be created in a folder, which may have to be created too."""
    nearest = next(folder for folder in (path, *path.parents) if folder.exists())
    read_only = os.statvfs(nearest).f_flag & os.ST_RDONLY  # not visible in permissions for root
    return nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK) and not read_only


def _private_folder() -> Path:
    """Writable only for this user, because its content is executed; the same for all of the user's runs."""
    path = Path(tempfile.gettempdir()) / f"speedyzero-numba-{os.getuid()}"
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022
    return path if is_ours else Path(tempfile.mkdtemp(prefix="speedyzero-numba-"))
