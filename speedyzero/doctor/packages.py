"""Required and installed versions of packages.

Requirements are read from the checkout's pyproject.toml, or, without one, from the installed package's metadata.
"""

from __future__ import annotations

import importlib.metadata
import platform
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from speedyzero.doctor.machine import Package
from speedyzero.observe.system import version_of

_PROJECT_FILE = Path(__file__).resolve().parents[2] / "pyproject.toml"


def read_packages() -> tuple[Package, ...]:
    """Python first; without packages for other systems."""
    python, requirements = _asked_for()
    found = [_package("Python", python, platform.python_version())]
    for requirement in map(Requirement, requirements):
        if requirement.marker is None or requirement.marker.evaluate():
            found.append(_package(requirement.name, requirement.specifier, version_of(requirement.name)))
    return tuple(found)


def _package(name: str, wanted: SpecifierSet, version: str | None) -> Package:
    """A local build such as "2.12.0+cu130" counts as its version."""
    fits = version is not None and wanted.contains(version, prereleases=True)
    return Package(name, str(wanted), version, fits)


def _asked_for() -> tuple[SpecifierSet, list[str]]:
    if _PROJECT_FILE.is_file():
        project = tomllib.loads(_PROJECT_FILE.read_text(encoding="utf-8"))["project"]
        return SpecifierSet(project["requires-python"]), project["dependencies"]
    try:
        noted = importlib.metadata.metadata("speedyzero")
    except importlib.metadata.PackageNotFoundError:
        return SpecifierSet(), []
    return SpecifierSet(noted["Requires-Python"]), [
        line for line in noted.get_all("Requires-Dist") or [] if "extra ==" not in line
    ]
