"""How commands, their help and what is wrong with a call are worded."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import NoReturn

Command = Callable[[argparse.Namespace], int]


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong with a call, and where help is."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


class Group:
    """Adds commands that all read alike."""

    def __init__(self, commands: argparse._SubParsersAction[Parser]) -> None:
        self._commands = commands

    def add(self, name: str, summary: str, about: str, command: Command | None = None) -> Parser:
        """A command: a line for the list, and what `--help` teaches."""
        parser = self._commands.add_parser(
            name,
            help=summary,
            description=about,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        if command is not None:
            parser.set_defaults(command=command)
        return parser

    def group(self, name: str, summary: str) -> Group:
        """A command that is a word before others, such as `rules`."""
        parser = self.add(name, summary, summary)
        return Group(parser.add_subparsers(dest=f"{name}_name", metavar="COMMAND", required=True))


def positive(text: str) -> int:
    """A whole number above 0, as the type of an argument."""
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)
