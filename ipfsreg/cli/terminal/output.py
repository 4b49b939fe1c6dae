"""The result of a command, for people or for scripts."""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from .progress import ProgressBar
from .table import Cell, Column, Table
from .text import printable


class Output:
    """How one run of a command talks: as JSON, or in text and tables."""

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):  # a test's stream may lack it
                stream.reconfigure(errors="backslashreplace")

    def show(self, document: Mapping[str, Any], *human: str | Table) -> None:
        """Say the result: the document with ``--json``, else each line and table of ``human``."""
        if self.as_json:
            # In ASCII, so that no text of others does anything to a terminal.
            click.echo(json.dumps(document, indent=2 if sys.stdout.isatty() else None))
            return
        for part in human:
            if isinstance(part, str):
                click.echo(printable(part))
            else:
                _show_table(part)

    def row(self, cells: Sequence[Cell]) -> None:
        """Say one row of a list, before the next one is known: its cells, separated by tabs."""
        click.echo("\t".join(map(_in_cell, cells)))

    def note(self, text: str) -> None:
        """Tell a person something beside the result, on standard error. Scripts find it in the document."""
        if not self.as_json:
            click.echo(printable(text), err=True)

    def progress(self, label: str, *, bytes_: bool = False) -> ProgressBar:
        """A `ProgressBar` to work in. It counts bytes, or whatever else the label says."""
        return ProgressBar(label, bytes_=bytes_)


def output_option() -> click.Option:
    """The option ``--json``, from which the function of a command has its argument ``output``."""
    return click.Option(
        ["--json", "output"],
        is_flag=True,
        callback=lambda context, parameter, value: Output(as_json=value),
        help="Print one JSON document instead of text.",
    )


def _show_table(table: Table) -> None:
    columns = [Column(each) if isinstance(each, str) else each for each in table.columns]
    rows = ([_in_cell(cell) for cell in row] for row in table.rows)
    if sys.stdout.isatty():
        from .drawing import draw_table  # it loads rich, which takes longer than many a command

        draw_table(columns, rows)
        return
    for row in rows:
        click.echo("\t".join(row))


def _in_cell(cell: Cell) -> str:
    return "-" if cell is None else printable(str(cell))
