"""Starts a fork server, or a process of one, says both pids, and waits to be killed. For `test_fork_server.py`.

python -m tests.supervisor.lost_parent MODULE    which the server imports first
"""

import sys
import time

from speedyzero.runtime.fork_server import ForkServer
from tests.supervisor.forked import sleep_long

if __name__ == "__main__":
    server = ForkServer([sys.argv[1]])
    print(server.pid, flush=True)
    print(server.start(sleep_long, ()).pid, flush=True)
    time.sleep(300)
    sys.exit(1)
