"""Commands and groups as click declares them, with examples, and with mistakes told in one line."""

import errno
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import click

from .output import output_option
from .text import printable


class Command(click.Command):
    """A command whose help ends with ``examples``, which are lines that a user can type, and what ``--json`` gives.

    ``result`` is the shape of that document: names as in JSON, without their values. A command that has one has that
    option, and its function the argument ``output``.
    """

    def __init__(
        self,
        name: str | None,
        *,
        params: Sequence[click.Parameter] | None = None,
        examples: Sequence[str] = (),
        result: str = "",
        **more: Any,
    ) -> None:
        own = [output_option()] if result else []
        super().__init__(name, params=[*(params or ()), *own], **more)
        self.examples = examples
        self.result = result

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """See click."""
        if self.result:
            with formatter.section("With --json"):
                formatter.write_text(self.result)
        if self.examples:
            with formatter.section("Examples"):
                for each in self.examples:
                    formatter.write(f"{'':{formatter.current_indent}}{each}\n")
        super().format_epilog(ctx, formatter)


class Group(click.Group):
    """A group whose commands are `Command`s."""

    command_class = Command
    group_class = type


def command(
    name: str | None = None, *, examples: Sequence[str], result: str = ""
) -> Callable[[Callable[..., Any]], Command]:
    """As `click.command`; see `Command` for the rest."""
    return click.command(name, cls=Command, examples=examples, result=result)


def group(function: Callable[..., Any]) -> Group:
    """As `click.group`, for groups of a `Command`."""
    return click.group(cls=Group)(function)


class OneLine(click.ClickException):
    """Ends the program with one line on standard error, which is written when no progress is shown any more."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.exit_code = status  # type: ignore[misc]  # click has it in classes only

    def show(self, file: Any = None) -> None:
        """See click."""
        click.echo(printable(self.message), err=True)


class Mistake(OneLine):
    """A command line that means nothing, as one line that says what is wrong."""

    def __init__(self, error: click.UsageError) -> None:
        where = error.ctx.command_path if error.ctx else "ipfsreg"
        super().__init__(f"{where}: {error.format_message().rstrip('.')}; see `{where} --help`", error.exit_code)


def _drop_output() -> None:
    """Let what waits to be written go nowhere: the interpreter would fail at it again, and say so, when it ends."""
    with suppress(OSError, ValueError):
        output = sys.stdout.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, output)
        os.close(nowhere)


class MistakesInOneLine(Group):
    """A group that tells mistakes in one line, for those below it too."""

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """See click."""
        made: click.Context = self._telling(super().make_context, *args, **extra)
        return made

    def invoke(self, ctx: click.Context) -> Any:
        """See click."""
        return self._telling(super().invoke, ctx)

    def _telling(self, work: Callable[..., Any], *args: Any, **extra: Any) -> Any:
        try:
            return work(*args, **extra)
        except click.exceptions.NoArgsIsHelpError:  # that prints the help
            raise
        except click.UsageError as error:
            raise Mistake(error) from None
        except OSError as error:
            if error.errno == errno.EPIPE:  # who reads has enough: click ends without a word
                raise
            if error.filename is None:
                _drop_output()
            raise OneLine(f"ipfsreg: {error.filename or 'standard output'}: {error.strerror}") from None
