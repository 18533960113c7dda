"""A process that has imported what others need, and is forked into each of them.

    supervisor --what to do--> fork server --fork--> a role, its successor, an evaluator ...
               <--who began, who ended and how--

To import torch, numba and torch's optimisers takes some five seconds of a core. Of processes that are spawned each pays
them, the successor of one that died, too, before it can take its place; forked from a server, none does, and what was
imported lies in memory once. The supervisor could not be forked itself, for it has threads and may have used a GPU; the
server does nothing but this. It dies with the supervisor's thread that made it, and whoever it was forked into dies
with it.

The signals that end a run (`stop_signals.py`), which may reach all of a group, are blocked in all of them: the
supervisor decides.
"""

from speedyzero.runtime.fork_server.client import Forked, ForkServer, NotStarted

__all__ = ["ForkServer", "Forked", "NotStarted"]
