"""The reliability contract: what is promised, how often each fault is tried, and where the figures reached are told.

Fault tests name their rows, `@pytest.mark.contract(1, 2)`, try a tenth of the counts, or all of them with SOAK=1, and
tell what they reached. `soak.py` makes the table of it. No test asserts a time; the soak compares it with the promise.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Promise:
    """One row of the contract. asked: what is tried, and how often in full. limit_s: the longest that is promised."""

    text: str
    asked: Mapping[str, int] = field(default_factory=dict)
    limit_s: float | None = None


CONTRACT: Mapping[int, Promise] = {
    1: Promise("Killing an actor never corrupts training", {"kills of producers": 200}),
    2: Promise(
        "At most one uncommitted record is lost per kill, no committed one",
        {"kills of producers": 200, "kills of consumers": 50},
    ),
    3: Promise(
        "A dead actor or reanalyzer is replaced within 10 s and the run continues",
        {"kills of actors": 50, "kills of reanalyzers": 50},
        limit_s=10,
    ),
    4: Promise(
        "Whoever dies holding whatever, nobody is blocked for more than 2 s",
        {
            "kills at each point of a producer": 50,
            "of a consumer": 50,
            "of a writer of weights": 50,
            "in whole runs": 100,
        },
        limit_s=2,
    ),
    5: Promise(
        "A learner rank's death ends or restarts the learner group within 30 s; never a hang",
        {"SIGKILLs of a rank of two": 20, "SIGSTOPs of a rank of two": 20},
        limit_s=30,
    ),
    6: Promise("Supervisor SIGKILLed: no descendant left after 10 s", {"supervisors killed": 20}, limit_s=10),
    7: Promise(
        "Ctrl-C: checkpoint, exit 130 within 15 s, no segment or semaphore left; a second Ctrl-C only hurries",
        {"interrupted once": 10, "interrupted twice": 10},
        limit_s=15,
    ),
    8: Promise("The next start sweeps what dead runs left, and only that", {"dead runs": 20, "dead whole runs": 1}),
    9: Promise("Two runs on one machine never meet", {"starts of two runs": 20, "starts of two whole runs": 1}),
    10: Promise("No process ever computes with weights of mixed versions", {"reads": 100_000}),
    11: Promise("A crash at any system call of a save leaves a loadable checkpoint", {"system calls": 50}),
    12: Promise(
        "At most one checkpoint interval of work is lost; of a finished one, nothing", {"whole runs killed": 10}
    ),
    13: Promise(
        "Every corruption is detected and the previous checkpoint used, loudly",
        {"bit flips": 300, "truncations": 200},
    ),
    14: Promise(
        "A full disk never kills training nor the last good checkpoint", {"ENOSPC": 20, "EIO": 20, "RLIMIT_FSIZE": 20}
    ),
    15: Promise(
        "Too little /dev/shm is refused before anything starts, with both numbers and the way out; never SIGBUS",
        {"sizes of a tiny tmpfs": 10},
    ),
    16: Promise("Bad input: one clear line, exit 2 within 10 s, nothing left behind", {"bad resumes": 20}),
    17: Promise("Resume continues the same run", {"resumes equal to the bit": 6}),
    18: Promise(
        "NaN or Inf never reaches a checkpoint or published weights; training stops after K bad batches",
        {"injections": 20},
    ),
    19: Promise(
        "Shared objects are 0600 and owner-checked; files never execute code; only loopback is listened on",
        {"malicious files": 9, "runs that a second uid attacked": 1, "runs whose sockets were scanned": 1},
    ),
    20: Promise("produced = consumed + dropped (by reason) + in flight, exactly", {"records": 1_000_000}),
}


def is_soak() -> bool:
    return os.environ.get("SOAK") == "1"


def share(full_count: int) -> int:
    """How many to try here and now."""
    return full_count if is_soak() else max(1, full_count // 10)


def trials(row: int, full_count: int) -> Iterator[int]:
    """0, 1, ... for this many tries of a fault that takes seconds; a soak is told how far it is."""
    count = share(full_count)
    for trial in range(count):
        yield trial
        if is_soak():
            print(f"\ncontract row {row}: {trial + 1} of {count} tried", end="", flush=True)


def reached(
    row: int, figure: str = "", *, counts: Mapping[str, int] | None = None, worst_s: float | None = None
) -> None:
    """Report what a test has shown, once it has. counts: by the names of the row's `asked`. worst_s: the longest time.

    figure: what else was seen; without it counts and time say all.
    """
    said = [f"{count:,} {name}" for name, count in (counts or {}).items()]
    said += [f"at most {worst_s:.2f} s"] if worst_s is not None else []
    figure = figure or ", ".join(said)
    unknown = set(counts or ()) - set(CONTRACT[row].asked)
    assert not unknown, f"row {row} asks for {list(CONTRACT[row].asked)}, not {unknown}"
    print(f"\ncontract row {row}: {figure}", end="", flush=True)
    if table := os.environ.get("SOAK_TABLE"):
        test = os.environ["PYTEST_CURRENT_TEST"].partition(" ")[0]
        line = {"row": row, "test": test, "figure": figure, "counts": dict(counts or {}), "worst_s": worst_s}
        with open(table, "a") as file:
            file.write(json.dumps(line) + "\n")
