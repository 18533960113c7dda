"""Triton's interpreter without its repeated work: most of its time goes into putting the same stand-ins into
triton.language at every launch and every call of a jit function inside a kernel, and into checks that nobody reads.

Only where those are found under the names that Triton 3.6 and 3.7 give them; elsewhere the tests just take longer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any


def patch_once() -> None:
    """Leave the stand-ins in place for the rest of this process, in which no kernel is compiled."""
    from triton.runtime import interpreter

    if not hasattr(interpreter, "_patch_lang") or not hasattr(interpreter, "_LangPatchScope"):
        return
    # What a kernel's module calls triton.language, and what the library's own functions call it.
    modules = {"tl": interpreter.tl, "core": interpreter.tl.core}
    interpreter._patch_lang(SimpleNamespace(__globals__=modules))
    nothing_to_restore = interpreter._LangPatchScope()
    interpreter._patch_lang = lambda function: nothing_to_restore
    if hasattr(interpreter, "_get_np_dtype"):
        interpreter._get_np_dtype = _remembered(interpreter._get_np_dtype)
    # Each sum of 32-bit integers is computed again in 64 bits for an assertion that is only made in debug mode.
    builder = interpreter.interpreter_builder
    if not builder.options.debug:
        builder.options = replace(builder.options, sanitize_overflow=False)


def _remembered(numpy_type: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """It builds a table at every call, for an answer that depends on a type's scalar alone."""
    known: dict[str, Any] = {}

    def remembered(triton_type: Any) -> Any:
        name = str(triton_type.scalar)
        if name not in known:
            known[name] = numpy_type(triton_type)
        return known[name]

    return remembered
