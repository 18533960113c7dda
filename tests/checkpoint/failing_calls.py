"""Have the n-th call to the operating system's file functions fail, as a crash or as an error of the disk."""

import builtins
import os
from collections.abc import Callable

import pytest

WRITING = ("fsync", "replace", "rename", "mkdir", "unlink", "rmdir", "pwrite", "ftruncate", "truncate", "open")


class Crash(BaseException):
    """The process is gone: nothing may tidy up after it but what a destructor of a context would not do either."""


class FailingCalls:
    """Counts the calls from `begin` on and raises at one of them."""

    def __init__(self, patch: pytest.MonkeyPatch):
        self.count, self._fail_at, self._failure = 0, 0, None
        for name in WRITING:
            patch.setattr(os, name, self._counted(getattr(os, name)))
        patch.setattr(builtins, "open", self._counted(builtins.open))

    def begin(self, *, fail_at: int, failure: Callable[[], BaseException]) -> None:
        self.count, self._fail_at, self._failure = 0, fail_at, failure

    def end(self) -> None:
        self._fail_at = 0

    def _counted(self, function):
        def call(*arguments, **named):
            self.count += 1
            if self._fail_at and (self.count == self._fail_at or (self.count > self._fail_at and self._is_crash)):
                raise self._failure()
            return function(*arguments, **named)

        return call

    @property
    def _is_crash(self) -> bool:
        """A process that is gone makes no further call."""
        return self._failure is Crash
