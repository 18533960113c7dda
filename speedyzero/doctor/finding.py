"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass

OK, WARNING, WRONG = "ok", "warning", "wrong"


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's. Wrong: a run cannot start. A warning: it can, with something worse than it might be."""

    check: str
    status: str
    what: str
    mend: str = ""
    """The command, or the setting, that mends it; for every finding that is not ok."""

    def __post_init__(self) -> None:
        assert (self.status == OK) == (not self.mend), self


def ok(check: str, what: str) -> Finding:
    return Finding(check, OK, what)


def warning(check: str, what: str, mend: str) -> Finding:
    return Finding(check, WARNING, what, mend)


def wrong(check: str, what: str, mend: str) -> Finding:
    return Finding(check, WRONG, what, mend)
