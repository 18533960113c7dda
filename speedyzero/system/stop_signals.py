"""Signals on which a run saves and ends: a user's, and the warnings of batch systems. Imports little.

A program blocks them before its other imports, so that none is lost or kills it. After `let_in` they raise
KeyboardInterrupt, until a run counts them (`supervisor/interrupts.py`). Process 1 of a container receives only signals
that have a handler.
"""

import signal

# SLURM sends the signal of --signal, usually SIGUSR1 or SIGUSR2; a CPU time limit sends SIGXCPU.
WARNINGS = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU)
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, *WARNINGS)


def block() -> None:
    """Block them in this thread and in the threads and processes that it starts."""
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)


def not_ignored() -> list[signal.Signals]:
    """All stop signals except those that this process was started to ignore, such as SIGHUP under nohup."""
    asked = (signal.SIGINT, signal.SIGTERM)
    return [one for one in STOP_SIGNALS if one in asked or signal.getsignal(one) is not signal.SIG_IGN]


def let_in() -> None:
    """Unblock them; pending and later signals raise KeyboardInterrupt."""
    for number in not_ignored():
        signal.signal(number, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


def ignore() -> None:
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
