"""Compile every case of `cases_*.py` for sm_90 and print one JSON line for each: python -m tests.kernels.compile_all

Started by `test_triton_compiles.py` without the interpreter's variable. With names as arguments, those cases only.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import sys
import traceback
from pathlib import Path

from tests.kernels.sm90 import Case, compile_case


def all_cases() -> list[Case]:
    """The cases of all kernels."""
    files = sorted(Path(__file__).parent.glob("cases_*.py"))
    cases = [case for file in files for case in importlib.import_module(f"tests.kernels.{file.stem}").CASES]
    names = [case.name for case in cases]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(f"cases of the same name: {sorted(twice)}")
    return cases


def main(names: list[str]) -> None:
    for case in all_cases():
        if names and case.name not in names:
            continue
        try:
            line = dataclasses.asdict(compile_case(case))
        except Exception:  # printed where the case is checked; the others are still compiled
            line = {"error": traceback.format_exc()}
        print(json.dumps({"name": case.name, **line}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
