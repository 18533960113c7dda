"""Checks that a list of events conforms to the Trace Event Format."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_METADATA = {"process_name": "name", "thread_name": "name", "process_sort_index": "sort_index"}


def check_events(events: Sequence[Any]) -> None:
    """Check keys and types of each event, and that a thread's spans are sorted by start and properly nested.

    Raises ValueError, naming the first bad event.
    """
    if not isinstance(events, list):
        raise ValueError(f"traceEvents is a {type(events).__name__}, must be a list")
    open_ends: dict[tuple[int, int], list[float]] = {}
    last_starts: dict[tuple[int, int], float] = {}
    for index, event in enumerate(events):
        try:
            _check_event(event)
            if event["ph"] == "X":
                thread = (event["pid"], event["tid"])
                _check_nesting(event, open_ends.setdefault(thread, []), last_starts.get(thread, -float("inf")))
                last_starts[thread] = event["ts"]
        except ValueError as error:
            raise ValueError(f"event {index} {error}: {str(event)[:160]}") from None


def _check_event(event: Any) -> None:
    if not isinstance(event, dict):
        raise ValueError("is no object")
    for key, kinds in {"name": (str,), "ph": (str,), "pid": (int,), "tid": (int,), "ts": (int, float)}.items():
        if not isinstance(event.get(key), kinds) or isinstance(event[key], bool):
            raise ValueError(f"has no proper {key}")
    arguments = event.get("args", {})
    if not isinstance(arguments, dict):
        raise ValueError("has args that are no object")
    if event["ph"] == "X":
        if not isinstance(event.get("dur"), int | float) or event["dur"] < 0:
            raise ValueError("has no duration of 0 or more")
        if not isinstance(event.get("cat"), str):
            raise ValueError("has no category")
    elif event["ph"] == "C":
        if not arguments or not all(isinstance(value, int | float) for value in arguments.values()):
            raise ValueError("counts nothing")
    elif event["ph"] == "M":
        if _METADATA.get(event["name"]) not in arguments:
            raise ValueError("is unknown metadata")
    else:
        raise ValueError("is of an unknown kind")


def _check_nesting(event: dict[str, Any], open_ends: list[float], last_start: float) -> None:
    """open_ends: end times of the thread's open spans, innermost last; updated in place."""
    start, end = event["ts"], round(event["ts"] + event["dur"], 3)
    if start < last_start:
        raise ValueError(f"begins at {start}, before the previous span of its thread, at {last_start}")
    while open_ends and open_ends[-1] <= start:
        open_ends.pop()
    if open_ends and end > open_ends[-1]:
        raise ValueError(f"ends at {end}, after its enclosing span, at {open_ends[-1]}")
    open_ends.append(end)
