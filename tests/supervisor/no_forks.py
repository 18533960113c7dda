"""Imported by a fork server, has it fail as on a machine with too many processes."""

import errno
import os


def _fail() -> int:
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))


os.fork = _fail
