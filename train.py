"""Train an agent: `python train.py --game Pong`, the same as `python -m speedyzero train`. `--help` lists the flags."""

import sys

from speedyzero.system import stop_signals

stop_signals.block()  # until there is somebody to heed them

from speedyzero.cli import check_train, run  # noqa: E402

if __name__ == "__main__":
    sys.exit(run(check_train, sys.argv[1:], prog="train.py"))
