"""Compile Triton kernels for a GPU, which needs none, and read off what the machine code uses.

`cases_network.py` and `cases_tree.py` list `Case`s, which name the kernel by its dotted path, for a process under the
interpreter can't compile. `compile_all.py` compiles them all, `test_triton_compiles.py` checks.
"""

from __future__ import annotations

import importlib
import re
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Case:
    """One way to compile one kernel, and what it may cost."""

    name: str
    kernel: str  # "package.module:function"
    signature: Mapping[str, str]  # argument -> Triton type, as "*fp32" or "i32"; constexprs left out
    constexprs: Mapping[str, Any] = field(default_factory=dict)
    aligned: tuple[str, ...] | None = None  # arguments that are multiples of 16 (bytes); None: every pointer
    capability: int = 90  # sm_90
    options: Mapping[str, Any] = field(default_factory=lambda: {"num_warps": 4})
    max_shared_bytes: int = 0
    max_stack_bytes: int = 0  # spilled registers lie there
    max_registers: int = 255
    needs_wgmma: bool = False
    min_barriers: int = 0  # which the interpreter would not miss
    absent: tuple[str, ...] = ()  # PTX instructions that round as they must not


def arguments(text: str, dtype: str = "") -> dict[str, str]:
    """`rows:*T count:i32`: Triton's type by argument. T: dtype."""
    return dict(part.split(":") for part in text.replace("*T", f"*{dtype}").split())


@dataclass(frozen=True)
class Usage:
    """What a compiled kernel takes of the machine, and of its PTX what its case speaks of."""

    shared_bytes: int  # of a program
    stack_bytes: int  # of a thread
    registers: int  # of a thread
    has_wgmma: bool
    barriers: int
    found: tuple[str, ...]  # those that should be absent


def compile_case(case: Case) -> Usage:
    """Compile the kernel. Not under the interpreter."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    module, _, function = case.kernel.partition(":")
    kernel = getattr(importlib.import_module(module), function)
    types = {**case.signature, **dict.fromkeys(case.constexprs, "constexpr")}
    unknown = set(types) ^ set(kernel.arg_names)
    if unknown:
        raise ValueError(f"{case.name}: {case.kernel} takes {kernel.arg_names}; missing or too many: {sorted(unknown)}")
    pointers = tuple(name for name, kind in case.signature.items() if kind.startswith("*"))
    aligned = pointers if case.aligned is None else case.aligned
    source = ASTSource(
        fn=kernel,
        signature={name: types[name] for name in kernel.arg_names},
        constexprs=dict(case.constexprs),
        attrs={(kernel.arg_names.index(name),): [["tt.divisibility", 16]] for name in aligned},
    )
    compiled = triton.compile(source, target=GPUTarget("cuda", case.capability, 32), options=dict(case.options))
    ptx = compiled.asm["ptx"]
    resources = _resource_usage(compiled.asm["cubin"])
    numbers = re.search(r"REG:(\d+) STACK:(\d+) SHARED:(\d+)", resources)
    if numbers is None:
        raise ValueError(f"no resource usage in cuobjdump's answer: {resources}")
    registers, stack, static_shared = map(int, numbers.groups())
    return Usage(
        shared_bytes=max(compiled.metadata.shared, static_shared),
        stack_bytes=stack,
        registers=registers,
        has_wgmma="wgmma.mma_async" in ptx,
        barriers=len(re.findall(r"\bbar\.(?:warp\.)?sync", ptx)),
        found=tuple(instruction for instruction in case.absent if instruction in ptx),
    )


def _resource_usage(cubin: bytes) -> str:
    import triton.backends.nvidia

    tools = Path(triton.backends.nvidia.__file__).parent / "bin"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [tools / "cuobjdump", "--dump-resource-usage", file.name]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
