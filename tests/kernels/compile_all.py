"""Compile every case and print one JSON line for each: python -m tests.kernels.compile_all

Started by `test_triton_compiles.py` without the interpreter's variable. With names as arguments, those cases only.
With SOAK=1 every case is there for every capability; without, all for sm_90 and the convolution, whose tile depends on
the card, for all.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import traceback

from tests.kernels import cases_network, cases_tree
from tests.kernels.sm90 import Case, compile_case


def all_cases() -> list[Case]:
    """The cases of all kernels."""
    cases = [*cases_network.CASES, *cases_tree.CASES]
    assert len({case.name for case in cases}) == len(cases)
    if os.environ.get("SOAK") == "1":
        others = [capability for capability in cases_network.CAPABILITIES if capability != 90]
        cases += [
            dataclasses.replace(
                case, name=f"{case.name}-sm_{capability}", capability=capability, needs_wgmma=False,
                max_registers=255,
            )
            for case in cases if case.capability == 90 and not case.name.startswith("conv3x3")
            for capability in others
        ]  # fmt: skip
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
