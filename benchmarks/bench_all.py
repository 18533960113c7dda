"""Every benchmark that this machine can run in minutes, one after the other, then the page of all figures.

    make bench                        # 5 to 30 minutes on 2 cores
    make bench ARGS="tree ring"       # some

What takes longer has a command of its own (cartpole, process_mode, catch_ablation, techniques, kills, profile, scaling,
laptop, ppo, atari100k); GPUs: gpu-check.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
ORDINARY = ("start", "tree", "cpu_training", "ring", "host_targets", "growth", "learner_group", "checkpoint")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(ORDINARY), help=f"default: {' '.join(ORDINARY)}")
    names = parser.parse_args().names
    unknown = [name for name in names if not (ROOT / "benchmarks" / f"bench_{name}.py").exists()]
    if unknown:
        parser.error(f"no benchmark {unknown[0]}")
    failed = []
    for name in names:
        print(f"== {name}", flush=True)
        if subprocess.run([sys.executable, "-m", f"benchmarks.bench_{name}"], cwd=ROOT).returncode:
            failed.append(name)
    subprocess.run([sys.executable, "-m", "benchmarks.performance_page"], cwd=ROOT, check=True)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
