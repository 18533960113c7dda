"""A process that has imported what others need, and is forked into each of them.

    supervisor --target, arguments--> fork server --fork--> a role, its replacement, an evaluator ...
               <--pid, exit code--

Importing torch, numba and torch's optimisers takes about five seconds of a core. Every spawned process would pay them,
replacements included; forked ones do not, and share the imported pages. The supervisor cannot be forked itself: it has
threads and may have used a GPU. The server dies with the supervisor's thread that made it, and its children with it.

The stop signals (`stop_signals.py`), which may reach a whole process group, are blocked in all of them: the supervisor
handles them.

Why not `multiprocessing`'s forkserver: it is no faster, 42 ms (21 to 69) from the call to a role's first line, here 26
ms (11 to 52; medians of 10 by turns, 2 shared cores), and 5.7 s against 6.1 s with its own start. A fork that fails
ends it and every role with it; a start waits without limit, deaf to Ctrl-C, while it imports or is stopped; after a
SIGKILL of the supervisor it lives as long as any child and leaves its socket in the temporary directory. Modules that
it cannot preload it skips silently, in Python 3.11 all of a checkout that is not the current directory.
"""

from speedyzero.runtime.fork_server.client import Forked, ForkServer, NotStarted

__all__ = ["ForkServer", "Forked", "NotStarted"]
