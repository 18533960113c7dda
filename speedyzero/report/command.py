"""`python -m speedyzero report RUN_DIR [RUN_DIR ...]`: a page and its pictures.

    OUT/report.html      self-contained
    OUT/report/*.png     the pictures, for slides

OUT: `--out`, or the run's directory; for several runs their deepest common directory. An earlier report is replaced.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from speedyzero.arguments.command_line import Parser, check_writable, parse
from speedyzero.system.atomic_file import write_atomically

PAGE_FILE, PICTURES_FOLDER = "report.html", "report"


def check(argv: Sequence[str], prog: str) -> Callable[[], Path]:
    """The action of `report` for these arguments. Raises ValueError for bad input, including damaged runs."""
    flags = parse(_parser(prog), argv)
    run_dirs = [Path(word) for word in flags.run_dirs]
    if repeated := {str(path) for path in run_dirs if run_dirs.count(path) > 1}:
        raise ValueError(f"{min(repeated)}: named twice")
    from speedyzero.report.reading import read_run

    runs = [read_run(run_dir) for run_dir in run_dirs]
    out = flags.out or _common(run_dirs)
    check_writable(out, f"--out {out}")

    def make() -> Path:
        from speedyzero.report.figures import draw
        from speedyzero.report.groups import group_runs
        from speedyzero.report.page import page

        groups = group_runs(runs)
        pictures = draw(groups)
        folder, path = out / PICTURES_FOLDER, out / PAGE_FILE
        folder.mkdir(parents=True, exist_ok=True)
        for picture in pictures:
            write_atomically(folder / f"{picture.name}.png", picture.png)
        write_atomically(path, page(groups, pictures).encode())
        print(f"written   {path}, and its pictures in {folder}")
        return path

    return make


def _common(run_dirs: Sequence[Path]) -> Path:
    if len(run_dirs) == 1:
        return run_dirs[0]
    return Path(os.path.commonpath([path.absolute().parent for path in run_dirs]))


def _parser(prog: str) -> Parser:
    parser = Parser(prog=prog, allow_abbrev=False, description="One page about a run, or about several side by side.")
    parser.add_argument("run_dirs", nargs="+", metavar="RUN_DIR", help="runs that differ in their seeds share a curve")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: the run's directory, or that above all runs")
    return parser
