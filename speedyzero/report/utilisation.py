"""What each process does with its time: it computes, or waits, by reason. Axes: K kinds of time, N records.

The counters are cumulative and restart at 0 in a replacement process and in a resumed run.
"""

import re
from collections.abc import Sequence

import numpy as np

from speedyzero.report.groups import Group
from speedyzero.report.reading import RunRecord

KINDS = {
    "busy": ("computes", "#0072B2"),
    "wait_pacing": ("waits for the other side's pace", "#BBBBBB"),
    "wait_input": ("waits for input", "#E69F00"),
    "wait_space": ("waits for space in an output", "#D55E00"),
    "wait_group": ("waits for other learners", "#CC79A7"),
}
"""By the name of the counter: the kind of time, and its colour."""


def utilisation(groups: Sequence[Group]) -> dict[str, list[float]]:
    """Shares of wall time by KINDS for each process of each group, means over its seeds; none of inline runs.

    The remainder to 1 is unaccounted, as the start of a process.
    """
    rows = {}
    for group in groups:
        found = [shares_of(run) for run in group.runs]
        for process in dict.fromkeys(process for shares in found for process in shares):
            mean = np.mean([shares[process] for shares in found if process in shares], axis=0)
            rows[f"{group.label}: {process}" if len(groups) > 1 else process] = mean.tolist()
    return rows


def shares_of(run: RunRecord) -> dict[str, np.ndarray]:
    """Shares [K] by process, in recorded order; empty for an inline run."""
    matches = [re.fullmatch(r"time/(.+)/busy_s", name) for name in run.metrics]
    return {match[1]: _shares(run, match[1]) for match in matches if match}


def _shares(run: RunRecord, process: str) -> np.ndarray:
    totals = [run.series(f"time/{process}/{kind}_s").values for kind in KINDS]
    known = min(map(len, totals))  # an active run may be writing the last ones
    if known == 0:
        return np.zeros(len(KINDS))
    counted = np.stack([total[:known] for total in totals])  # [K, N]
    grown = np.diff(counted, axis=1, prepend=0.0)
    restarted = (grown < 0).any(axis=0)
    spent_s = np.where(restarted, counted, grown).sum(axis=1)
    elapsed_s = run.series(f"time/{process}/busy_s").times_s[known - 1]
    return spent_s / max(elapsed_s, spent_s.sum())  # clocks differ slightly: the sum may exceed the time
