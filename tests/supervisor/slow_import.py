"""A role's module that takes long to import, as torch does on a busy machine. Says that it has begun to."""

import os
import time
from pathlib import Path

Path(os.environ["SLOW_IMPORT_HAS_BEGUN"]).touch()
time.sleep(120)


def main() -> None:
    raise AssertionError("nobody waits so long")
