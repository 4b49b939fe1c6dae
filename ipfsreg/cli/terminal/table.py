"""Rows and columns of a result."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

Cell: TypeAlias = str | int | None
"""What one place of a table holds; None is shown as ``-``."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a `Table`. ``right`` is for numbers; one that may ``shrink`` is cut off where there is no room."""

    head: str
    right: bool = False
    shrink: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells below the heads of their columns.

    A terminal gets it drawn, with its heads. Anything else gets a line for each row, the cells separated by tabs and
    never cut off, for `cut` and `awk`.
    """

    columns: Sequence[str | Column]
    rows: Iterable[Sequence[Cell]]
