"""Every module imports, and the layers that stand alone import nothing else.

The order of the other layers is import-linter's: `[tool.importlinter]` in pyproject.toml.
"""

import ast
import importlib
import pkgutil
import sys
from pathlib import Path

import pytest

import kernels
import speedyzero

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted(
    name
    for package in (kernels, speedyzero)
    for _, name, _ in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
)

# What each may import besides the standard library: a prefix of dotted names.
ALLOWED = {
    "kernels": ("kernels", "torch", "triton", "numba", "numpy"),
    "speedyzero/shm": ("speedyzero.shm", "numpy", "posix_ipc"),
    "speedyzero/search": ("speedyzero.search", "speedyzero.config", "kernels", "torch", "numpy"),
    "speedyzero/config/declare.py": (),
    "speedyzero/config/schema.py": ("speedyzero.config.declare",),
    "speedyzero/topology/records.py": ("speedyzero.shm", "torch", "numpy"),
    "speedyzero/system/keyed_random.py": ("numba", "numpy"),
}


@pytest.mark.parametrize("name", MODULES)
def test_every_module_imports(name: str) -> None:
    importlib.import_module(name)


def test_every_source_file_is_a_module() -> None:
    files = {path.relative_to(ROOT) for top in ("kernels", "speedyzero") for path in (ROOT / top).rglob("*.py")}
    packages = {"kernels", "speedyzero"} | set(MODULES)
    unseen = [
        str(path) for path in files if ".".join(path.with_suffix("").parts).removesuffix(".__init__") not in packages
    ]
    assert not unseen, f"no __init__.py beside {unseen}"


@pytest.mark.parametrize("part", ALLOWED)
def test_what_stands_alone_imports_nothing_else(part: str) -> None:
    files = [ROOT / part] if part.endswith(".py") else sorted((ROOT / part).rglob("*.py"))
    assert files, part
    for path in files:
        for name in imported(path):
            is_standard = name.partition(".")[0] in sys.stdlib_module_names
            is_allowed = any(name == prefix or name.startswith(prefix + ".") for prefix in ALLOWED[part])
            assert is_standard or is_allowed, f"{path.relative_to(ROOT)} imports {name}"


def imported(path: Path) -> list[str]:
    """The dotted names that a file imports; `from a import b` counts as a.b, which a package's allowance covers."""
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.relative_to(ROOT)}:{node.lineno}: relative import"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names
