"""The report as one HTML file, from `templates/`: what they are given beside the runs, and how values are written.

Pictures are embedded; the page's content security policy forbids scripts and fetches. Jinja2 escapes every value.
"""

import time
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from speedyzero.config import Config, get
from speedyzero.config.placement import place
from speedyzero.config.settings import SETTINGS
from speedyzero.evaluate.human_normalised import human_normalised, reference_scores
from speedyzero.evaluate.result import bootstrap_ci95
from speedyzero.observe.progress import format_duration
from speedyzero.report.figures import Picture
from speedyzero.report.groups import Group, differing
from speedyzero.report.reading import RunRecord
from speedyzero.report.utilisation import KINDS, utilisation

_LATEST = 3  # records that a table's value is the mean of


def page(groups: Sequence[Group], pictures: Sequence[Picture]) -> str:
    runs = [run for group in groups for run in group.runs]
    firsts = [group.runs[0] for group in groups]
    loader = FileSystemLoader(Path(__file__).parent / "templates")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"counted": _counted, "duration": format_duration, "setting": _setting}
    return environment.get_template("report.html").render(
        bootstrap_ci95=bootstrap_ci95,
        human_normalised=human_normalised,
        latest=_latest,
        place=place,
        made=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        groups=groups,
        runs=runs,
        pictures=[(picture, b64encode(picture.png).decode()) for picture in pictures],
        references={group.game: known for group in groups if (known := reference_scores(group.game))},
        kinds=list(KINDS.values()),
        utilisation=utilisation(groups),
        differing={path: [get(run.config, path) for run in firsts] for path in differing(firsts)},
        changed=_changed(firsts),
    )


def _latest(run: RunRecord, name: str) -> float | None:
    """A metric's last value, smoothed; None if it was not recorded."""
    values = run.series(name).values
    return float(values[-_LATEST:].mean()) if len(values) else None


def _changed(runs: Sequence[RunRecord]) -> dict[str, tuple[Any, Any]]:
    """The value and the default of each setting that is the same in all runs and not the default."""
    changed = {}
    for path in SETTINGS:
        values, default = [get(run.config, path) for run in runs], get(Config(), path)
        if path not in ("run_dir", "seed") and values[0] != default and all(value == values[0] for value in values):
            changed[path] = values[0], default
    return changed


def _counted(names: Sequence[str]) -> str:
    """["cpu", "cpu"] as "2 x cpu"."""
    return ", ".join(f"{names.count(name)} x {name}" for name in dict.fromkeys(names))


def _setting(value: object) -> str:
    if isinstance(value, tuple):
        value = ", ".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value) or "none"
