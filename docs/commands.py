"""Makes docs/commands.md and the manual page etc/man/ipfsreg.1 from the commands themselves: `make reference`."""

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from ipfsreg.cli.main import main
from ipfsreg.cli.terminal.declare import Command

CHECKOUT = Path(__file__).resolve().parent.parent

STATUSES = {
    0: "done",
    1: "it failed, or it found something wrong, as `verify` does; or the answer is no, as of `access check`",
    2: "the command line or the configuration is wrong",
    3: "there is no image, tag or repository of that name",
    4: "it is not allowed: a login is missing or is not enough, or what is named can only be read",
    5: "the storage, the daemon or the registry does not answer; it may later",
}

_ABOUT = """\
`ipfsreg` looks after a registry. Where its daemon runs, the daemon does the work, asked through a socket that only its
own user can open; else the command does it itself. `--config FILE` says which registry is meant. With `--registry URL`
some commands ask a registry elsewhere, by its protocol and with the credentials that `docker login` has stored.

Standard output has the result and nothing else. On a terminal there are tables; elsewhere each row is a line, its cells
separated by tabs and sizes in bytes, and `--json` gives one JSON document. In it names are never taken away, sizes are
in bytes, times in ISO 8601, and null is what is not known. An error is one line on standard error. What takes longer
than a second shows how far it is, if standard error is a terminal.
`NO_COLOR` in the environment leaves colours out. Every command has `--help`.
"""

_EVERYWHERE = {"path", "output"}
"""The options --config and --json, of which the head tells."""


@dataclass(frozen=True)
class Page:
    """What there is to say of one command."""

    name: str
    usage: str
    help: list[str]
    options: list[tuple[str, str]]
    result: str
    examples: list[str]


def pages(group: click.Group = main, before: str = "ipfsreg", parent: click.Context | None = None) -> Iterator[Page]:
    """Every command, in the order of their names."""
    context = click.Context(group, info_name=before.rpartition(" ")[2], parent=parent)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        own = click.Context(command, info_name=name, parent=context)
        path = f"{before} {name}"
        options = [
            record
            for each in command.params
            if isinstance(each, click.Option) and each.name not in _EVERYWHERE and (record := each.get_help_record(own))
        ]
        paragraphs = [" ".join(each.split()) for each in inspect.cleandoc(command.help or "").split("\n\n")]
        usage = " ".join([path, *command.collect_usage_pieces(own)])
        if isinstance(command, click.Group):
            yield Page(path, usage, paragraphs, [], "", [])
            yield from pages(command, path, context)
        else:
            assert isinstance(command, Command)
            yield Page(path, usage, paragraphs, options, command.result, list(command.examples))


def markdown() -> str:
    """The reference as Markdown."""
    parts = ["# Commands", "<!-- Made by `make reference`. -->", _ABOUT.strip(), "| exit status | |\n|---|---|"]
    parts[-1] += "".join(f"\n| {status} | {what} |" for status, what in STATUSES.items())
    parts.append("`ipfsreg completion bash`, `zsh` or `fish` prints a script that completes commands and options.")
    for page in pages():
        parts += [f"{'#' * (1 + page.name.count(' '))} {page.name}", f"```text\n{page.usage}\n```"]
        parts += page.help
        if page.options:
            rows = "".join(f"\n| `{_cell(names)}` | {_cell(what)} |" for names, what in page.options)
            parts.append(f"| option | |\n|---|---|{rows}")
        if page.result:
            parts.append("With `--json`: " + re.sub(r"({.*})", r"`\1`", page.result, count=1))
        if page.examples:
            lines = "\n".join(page.examples)
            parts.append(f"```text\n{lines}\n```")
    return "\n\n".join(parts) + "\n"


def manual() -> str:
    """The manual page, in the macros of man(7)."""
    lines = [
        '.\\" Made by `make reference`.',
        '.TH IPFSREG 1 "" "ipfsreg" "ipfsreg"',
        ".SH NAME",
        "ipfsreg \\- look after a container registry on IPFS",
        ".SH SYNOPSIS",
        ".B ipfsreg",
        "COMMAND [OPTIONS] [ARGUMENTS]",
        ".SH DESCRIPTION",
    ]
    for paragraph in _ABOUT.strip().split("\n\n"):
        lines += [".PP", _roff(" ".join(paragraph.split()))]
    lines.append(".SH COMMANDS")
    for page in pages():
        lines += [f".SS {_roff(page.usage)}"]
        for paragraph in page.help:
            lines += [".PP", _roff(paragraph)]
        for names, what in page.options:
            lines += [".TP", f"\\fB{_roff(names)}\\fR", _roff(what)]
        if page.result:
            lines += [".PP", f"With \\fB\\-\\-json\\fR: {_roff(page.result)}"]
        if page.examples:
            lines += [".PP", ".EX", *map(_roff, page.examples), ".EE"]
    lines.append(".SH EXIT STATUS")
    for status, what in STATUSES.items():
        lines += [".TP", f"\\fB{status}\\fR", _roff(what)]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _roff(text: str) -> str:
    """Text in which nothing is a request or an escape."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "\\(ga").replace("'", "\\(aq")
    return f"\\&{escaped}" if escaped.startswith(".") else escaped


FILES = {CHECKOUT / "docs" / "commands.md": markdown, CHECKOUT / "etc" / "man" / "ipfsreg.1": manual}

if __name__ == "__main__":
    for path, made in FILES.items():
        path.write_text(made(), encoding="utf-8")
