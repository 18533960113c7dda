"""`python -m speedyzero COMMAND`."""

import sys

from speedyzero.system import stop_signals

stop_signals.block()  # until there is somebody to heed them

from speedyzero.cli import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
