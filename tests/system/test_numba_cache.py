"""Imports where numba can write nowhere: read-only sources, no home."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from speedyzero.system import numba_cache

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount the sources read-only")
def test_an_import_without_a_place_for_compiled_code(tmp_path: Path):
    """A copy of the sources on a read-only file system, on which the home would be too."""
    sources, temporary = tmp_path / "sources", tmp_path / "temporary"
    for name in ("speedyzero", "kernels", "configs"):
        shutil.copytree(ROOT / name, sources / name, ignore=shutil.ignore_patterns("__pycache__"))
    temporary.mkdir()
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "TMPDIR": str(temporary), "PYTHONPATH": str(sources)}
    code = (
        "from speedyzero.system import keyed_random; keyed_random.keys(0, 0, 0); "
        "from speedyzero.doctor.checks_system import check_cache; print(check_cache())"
    )
    words = [sys.executable, "-c", code]
    mounted = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && export HOME="$0/home" && exec "$@"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", mounted, str(sources), *words],
        cwd=temporary,
        env=environment,
        capture_output=True,
        text=True,
    )
    private = temporary / f"speedyzero-numba-{os.getuid()}"
    assert "Traceback" not in done.stderr and str(private) in done.stdout, done.stderr
    assert stat.S_IMODE(private.stat().st_mode) == 0o700 and any(private.iterdir())


def test_a_folder_that_others_write_in_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(numba_cache.tempfile, "gettempdir", lambda: str(tmp_path))
    theirs = tmp_path / f"speedyzero-numba-{os.getuid()}"
    theirs.mkdir()
    theirs.chmod(0o777)
    assert numba_cache._private_folder() != theirs
    theirs.chmod(0o755)
    assert numba_cache._private_folder() == theirs


def test_a_terminal_that_knows_ascii_alone():
    """A game that prints, and a directory whose name it does not know."""
    code = "from speedyzero import cli; cli.run(lambda words, prog: lambda: print('caf\\u00e9'), [], prog='x')"
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run([sys.executable, "-X", "utf8=0", "-c", code], capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout) == (0, "caf\\xe9\n"), done.stderr
