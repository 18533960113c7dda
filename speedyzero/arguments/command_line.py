"""Argument parsing shared by the commands: a parser that raises, flags and settings in any order."""

import argparse
import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from speedyzero.config.settings import near

_SETTING = re.compile(r"[a-z_]+(\.[a-z_]+)+=|(seed|gpus|cpu_threads|shm_dir|run_dir|init_from)=")

Action = Callable[[], object]  # what a checked command does


class Parser(argparse.ArgumentParser):
    """Raises ValueError where argparse would print a usage and exit."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def parse(parser: Parser, argv: Sequence[str]) -> argparse.Namespace:
    """Flags and settings in any order."""
    flags, unknown = parser.parse_known_intermixed_args(argv)
    if unknown:
        known = [name for name in parser._option_string_actions if name.startswith("--")]
        hint = near(unknown[0].partition("=")[0], known)
        raise ValueError(f"unknown argument {unknown[0]}{hint}; there are {', '.join(known)}")
    return flags


def settings_first(argv: Sequence[str]) -> list[str]:
    """key=value arguments before all others, so that no option with an optional value takes one of them for it."""
    settings = [one for one in argv if _SETTING.match(one)]
    return [*settings, *(one for one in argv if one not in settings)]


def at_least(least: int) -> Callable[[str], int]:
    """An argument's type."""

    def convert(text: str) -> int:
        if (number := int(text)) < least:
            raise argparse.ArgumentTypeError(f"{number}: must be {least} or more")
        return number

    convert.__name__ = "int"  # in the message for what is no number
    return convert


def check_writable(directory: Path, where: str) -> None:
    """Raises ValueError if no files can be created in a directory, which need not exist yet."""
    nearest = next(folder for folder in (directory.absolute(), *directory.absolute().parents) if folder.exists())
    try:
        tempfile.TemporaryFile(dir=nearest).close()
    except OSError as error:
        raise ValueError(f"{where}: cannot write in {nearest}: {error.strerror}") from error
