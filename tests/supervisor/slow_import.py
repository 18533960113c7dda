"""A module that takes long to import, as torch does on a busy machine. Says that it has begun to."""

import os
import time
from pathlib import Path

Path(os.environ["SLOW_IMPORT_HAS_BEGUN"]).touch()
time.sleep(120)
