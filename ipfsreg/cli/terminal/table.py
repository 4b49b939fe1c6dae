"""Rows and columns of a result."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

Cell: TypeAlias = str | int | None
"""What one place of a table holds; None is shown as ``-``."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a `Table`. ``right`` is for numbers; one that is ``long`` has lines of its own where room lacks."""

    head: str
    right: bool = False
    long: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells below the heads of their columns.

    A terminal gets it drawn, with its heads. Anything else gets a line for each row, the cells separated by tabs, for
    `cut` and `awk`. Nothing is ever cut off.
    """

    columns: Sequence[str | Column]
    rows: Iterable[Sequence[Cell]]
