"""Compile every case of `cases_*.py` and print one JSON line for each: python -m tests.kernels.compile_all

Started by `test_triton_compiles.py` without the interpreter's variable. With names as arguments, those cases only.
With SOAK=1 every case is there for every capability; without, all for sm_90 and the convolution, whose tile depends on
the card, for all.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import sys
import traceback
from pathlib import Path

from tests.kernels.cases_network import CAPABILITIES
from tests.kernels.sm90 import Case, compile_case


def all_cases() -> list[Case]:
    """The cases of all kernels."""
    files = sorted(Path(__file__).parent.glob("cases_*.py"))
    cases = [case for file in files for case in importlib.import_module(f"tests.kernels.{file.stem}").CASES]
    names = [case.name for case in cases]
    if os.environ.get("SOAK") == "1":
        others = [capability for capability in CAPABILITIES if capability != 90]
        cases += [
            dataclasses.replace(
                case, name=f"{case.name}-sm_{capability}", capability=capability, needs_wgmma=False,
                max_registers=255,
            )
            for case in cases if case.capability == 90 and not case.name.startswith("conv3x3")
            for capability in others
        ]  # fmt: skip
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
