"""`python -m speedyzero COMMAND`."""

import sys

from speedyzero.cli import main

if __name__ == "__main__":
    sys.exit(main())
