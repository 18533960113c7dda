"""The result of a check."""

from dataclasses import dataclass

OK, WARNING, WRONG = "ok", "warning", "wrong"


@dataclass(frozen=True)
class Finding:
    """One line of output. Wrong: a run cannot start. Warning: it can start, but slower or at a risk."""

    check: str
    status: str
    what: str
    fix: str = ""
    """The command or setting that fixes it; for every finding that is not ok."""

    def __post_init__(self) -> None:
        assert (self.status == OK) == (not self.fix), self


def ok(check: str, what: str) -> Finding:
    return Finding(check, OK, what)


def warning(check: str, what: str, fix: str) -> Finding:
    return Finding(check, WARNING, what, fix)


def wrong(check: str, what: str, fix: str) -> Finding:
    return Finding(check, WRONG, what, fix)


def amount(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:,.1f} MiB" if size_bytes < 2**30 else f"{size_bytes / 2**30:,.1f} GiB"
