"""What is drawn on a terminal, by rich. Loading that takes a tenth of a second: it is left until it is needed."""

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table
from rich.text import Text

from .table import Column


def draw_table(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
    """Draw a table on standard output, as wide as its content and no wider than the terminal."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for each in columns:
        justify = "right" if each.right else "left"
        # What may shrink counts as a text that can be wrapped, and is then cut off since it has no blank.
        table.add_column(Text(each.head), justify=justify, no_wrap=not each.shrink, overflow="ellipsis")  # type: ignore[arg-type]
    for row in rows:
        table.add_row(*map(Text, row))
    Console(highlight=False, soft_wrap=False).print(table)


class Bar:
    """A progress bar on standard error, which is gone at the end."""

    def __init__(self, *, in_bytes: bool) -> None:
        counts: list[ProgressColumn] = (
            [DownloadColumn(binary_units=True), TransferSpeedColumn()] if in_bytes else [MofNCompleteColumn(), _Rate()]
        )
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            *counts,
            TimeRemainingColumn(),
            console=Console(stderr=True, highlight=False),
            transient=True,
        )
        self._task = self._progress.add_task("", total=None)
        self._done = 0
        self._progress.start()

    def update(self, label: str, done: int, total: int | None) -> None:
        """Show how far it is."""
        if done < self._done:
            self._progress.reset(self._task)
        self._done = done
        self._progress.update(self._task, description=label, completed=done, total=total)

    def say(self, line: str) -> None:
        """Write a line above the bar."""
        self._progress.console.print(Text(line), soft_wrap=True)

    def end(self) -> None:
        """Take the bar away."""
        self._progress.stop()


class _Rate(ProgressColumn):
    """How many things a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s", style="progress.data.speed")
