"""Stands for gpu_suite.py where the runner starts a stage: one process that ends in the way its stage is named."""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--stage")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--limit-s", type=float)
    parser.add_argument("--result", type=Path)
    parser.add_argument("--cpu-rehearsal", action="store_true")
    arguments = parser.parse_args()

    def keep(**found: object) -> None:
        arguments.result.write_text(json.dumps(found))

    match arguments.stage:
        case "well":
            keep(number=1)
        case "peeks":  # at what was written before it
            report = json.loads((arguments.out / "gpu_suite.json").read_text())
            keep(before=[stage["name"] for stage in report["stages"]], limit_s=arguments.limit_s)
        case "raises":
            keep(number=2)
            raise OverflowError("too much of it")
        case "dies":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "hangs":
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            keep(child=child.pid)
            print("going to hang", flush=True)
            time.sleep(600)
        case "wrong":
            keep(failures=["seven is not eight", "nor nine"])
        case "late":
            keep(unfinished=["the rest", "and more"])
        case "tool":
            print("not installed: a tool")
            return 4
        case "blind":
            print("torch sees no GPU here")
            return 5
        case "environment":
            names = ("CUDA_VISIBLE_DEVICES", "TRITON_INTERPRET", "CUDA_MPS_PIPE_DIRECTORY")
            keep(rehearsal=arguments.cpu_rehearsal, **{name: os.environ.get(name) for name in names})
    return 0


if __name__ == "__main__":
    sys.exit(main())
