"""docs/results/performance.md: a table of the newest figures of every benchmark in benchmarks/results.

python -m benchmarks.results_page          # `make bench` runs it last; a test says when it is due
"""

import json
from typing import Any

from benchmarks.common import RESULTS, ROOT, Figure

PAGE = ROOT / "docs" / "results" / "performance.md"
HEAD = """# Performance

Made by `python -m benchmarks.results_page` from the newest lines in `benchmarks/results/`, to which `make bench`
appends; not written by hand. Figures that have a goal; the others and the versions are in those lines. A figure is the
median of its repeats (least to most). A `+` behind a commit: some files differed from it, if only result lines.
Machines differ from day to day by a factor of 3 to 6: compare figures of one table only.
"""


def newest_lines() -> dict[str, dict[str, Any]]:
    """By benchmark that is still in the repository, where its figures have goals."""
    found = {}
    for path in sorted(RESULTS.glob("bench_*.jsonl")):
        for line in map(json.loads, path.read_text().splitlines()):
            if (RESULTS.parent / f"{path.stem}.py").exists() and any(one["wanted"] for one in line.get("figures", ())):
                found[path.stem] = line
    return found


def section(name: str, line: dict[str, Any]) -> str:
    """One benchmark: when and where it ran, and its figures."""
    hardware = line["hardware"]
    about = f"{line['time'][:10]}, commit {line['commit']}, {hardware['cpu']}, {hardware['cores']} cores"
    rows = [f"| {' | '.join(Figure(**figure).cells)} |" for figure in line["figures"] if figure["wanted"]]
    table = "\n".join(("| what | median | least to most | wanted |", "|---|---|---|---|", *rows))
    return f"\n## `make bench NAME={name.removeprefix('bench_')}`\n\n{about}\n\n{table}\n"


def page() -> str:
    return HEAD + "".join(section(name, line) for name, line in newest_lines().items())


if __name__ == "__main__":
    PAGE.write_text(page())
    print(f"written to {PAGE.relative_to(ROOT)}")
