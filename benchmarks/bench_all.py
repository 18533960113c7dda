"""Every benchmark that this machine can run in minutes, one after the other, then the page of all figures.

    make bench                        # 5 to 30 minutes on 2 cores
    make bench ARGS="tree ring"       # some

What takes longer has a command of its own (process_mode, kills, profile, laptop, levers, ppo); GPUs: `make gpu-check`.
"""

import subprocess
import sys

from benchmarks.common import ROOT, parser

ORDINARY = ("start", "tree", "cpu_training", "ring", "growth", "checkpoint")


def main() -> None:
    options = parser(__doc__)
    options.add_argument("names", nargs="*", default=list(ORDINARY), help=f"default: {' '.join(ORDINARY)}")
    names = options.parse_args().names
    unknown = [name for name in names if not (ROOT / "benchmarks" / f"bench_{name}.py").exists()]
    if unknown:
        options.error(f"no benchmark {unknown[0]}")
    failed = []
    for name in names:
        print(f"== {name}", flush=True)
        if subprocess.run([sys.executable, "-m", f"benchmarks.bench_{name}"], cwd=ROOT).returncode:
            failed.append(name)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
