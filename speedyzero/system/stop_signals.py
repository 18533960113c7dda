"""Signals that ask a run to save and end: a person's, and the warnings of batch systems. Imports next to nothing.

A program blocks them before it imports anything else, so that none is lost or kills it, and `let_in` ends that: from
then on they raise KeyboardInterrupt, until a run counts them (`supervisor/interrupts.py`). A handler is what makes them
work at all for process 1 of a container.
"""

from __future__ import annotations

import signal

# SLURM warns by the signal that --signal names, most often SIGUSR1 or SIGUSR2; a limit on processor time by SIGXCPU.
WARNINGS = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU)
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, *WARNINGS)


def block() -> None:
    """Keep them waiting, in this thread and whatever it begins."""
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)


def heeded() -> list[signal.Signals]:
    """All of them but those that whoever started this process wants ignored, as nohup does with SIGHUP."""
    asked = (signal.SIGINT, signal.SIGTERM)
    return [one for one in STOP_SIGNALS if one in asked or signal.getsignal(one) is not signal.SIG_IGN]


def let_in() -> None:
    """Those that wait and those to come raise KeyboardInterrupt from now on."""
    for number in heeded():
        signal.signal(number, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


def ignore() -> None:
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
