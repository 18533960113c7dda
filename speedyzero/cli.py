"""The command line: `train` and the commands that inspect, compare and predict runs.

A command is checked, then executed. Checking reads the arguments, imports heavy modules only once they are valid, and
creates nothing; a ValueError there is bad input. An exception during execution is a fault and keeps its traceback. Exit
codes: 0 done, 2 bad input (one line), 1 a fault, 130 interrupted. Under torchrun, bad input and interrupts also end its
agent, which would start the program again.
"""

import importlib
import io
import os
import sys
from collections.abc import Callable, Sequence

from speedyzero.arguments.command_line import Action
from speedyzero.config.settings import near
from speedyzero.nodes.launch import end_agent
from speedyzero.supervisor.arguments import check as check_train
from speedyzero.system import stop_signals

DONE, BAD_INPUT, INTERRUPTED = 0, 2, 130
# By command: the module whose `check` turns its arguments into an action.
COMMANDS = {
    "train": "supervisor.arguments",
    "evaluate": "evaluate.arguments",
    "ablate": "experiments.ablate.arguments",
    "atari100k": "experiments.atari100k.arguments",
    "plan": "plan.arguments",
    "doctor": "doctor.command",
    "report": "report.command",
    "profile": "profile.command",
}
__all__ = ["check_command", "check_train", "main", "run"]


def main() -> int:
    """`python -m speedyzero COMMAND ...`; the exit code."""
    return run(check_command, sys.argv[1:], prog="python -m speedyzero")


def run(check: Callable[[Sequence[str], str], Action], argv: Sequence[str], *, prog: str) -> int:
    """Check the arguments, then execute the command; returns the exit code. prog: the program's name, for messages.

    After an interrupt further signals are ignored: only the exit is left, which takes torch half a second.
    """
    _print_anything()
    try:
        stop_signals.let_in()
        try:
            action = check(argv, prog)
        except ValueError as error:
            print(f"{prog}: {error}", file=sys.stderr, flush=True)
            end_agent()
            return BAD_INPUT
        action()
    except KeyboardInterrupt:
        stop_signals.ignore()
        print(f"{prog}: interrupted", file=sys.stderr, flush=True)
        end_agent()
        return INTERRUPTED
    return DONE


def _print_anything() -> None:
    """Print characters that the terminal's encoding lacks as escapes, here and in the processes of a run."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    os.environ.setdefault("PYTHONIOENCODING", ":backslashreplace")


def check_command(argv: Sequence[str], prog: str) -> Action:
    """The action of a command with these arguments. Raises ValueError for bad input."""
    if not argv:
        raise ValueError(f"a command is needed: {' or '.join(COMMANDS)}; --help shows more")
    if argv[0] in ("-h", "--help"):
        return lambda: print(f"usage: {prog} {{{','.join(COMMANDS)}}} ...; {prog} COMMAND --help shows more")
    if argv[0] not in COMMANDS:
        raise ValueError(f"unknown command {argv[0]}{near(argv[0], COMMANDS)}; there are {', '.join(COMMANDS)}")
    module = importlib.import_module(f"speedyzero.{COMMANDS[argv[0]]}")
    return module.check(argv[1:], f"{prog} {argv[0]}")
