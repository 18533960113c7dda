"""Train an agent: `python train.py --game Pong`, the same as `python -m speedyzero train`. `--help` lists the flags."""

import sys

from speedyzero.cli import check_train, run

if __name__ == "__main__":
    sys.exit(run(check_train, sys.argv[1:], prog="train.py"))
