"""A process that has imported what others need, and is forked into each of them.

    supervisor --target, arguments--> fork server --fork--> a role, its replacement, an evaluator ...
               <--pid, exit code--

Importing torch, numba and torch's optimisers takes about five seconds of a core. Every spawned process would pay them,
replacements included; forked ones do not, and share the imported pages. The supervisor cannot be forked itself: it has
threads and may have used a GPU. The server dies with the supervisor's thread that made it, and its children with it.

The stop signals (`stop_signals.py`), which may reach a whole process group, are blocked in all of them: the supervisor
handles them.
"""

from speedyzero.runtime.fork_server.client import Forked, ForkServer, NotStarted

__all__ = ["ForkServer", "Forked", "NotStarted"]
