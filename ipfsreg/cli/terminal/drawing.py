"""What is drawn on a terminal, by rich. Loading that takes a tenth of a second: it is left until it is needed."""

from collections.abc import Iterable, Sequence

from rich.cells import cell_len
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
from rich.text import Text

from .table import Column

_GAP = "  "


def draw_table(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
    """Draw a table on standard output. Where it is wider than that, ``long`` cells come below their rows."""
    rows = list(rows)
    widths = [max(map(cell_len, (each.head, *(row[at] for row in rows)))) for at, each in enumerate(columns)]
    console = Console(highlight=False)
    if sum(widths) + len(_GAP) * (len(columns) - 1) <= console.width:
        below: list[int] = []
    else:
        below = [at for at, each in enumerate(columns) if each.long]
    beside = [at for at in range(len(columns)) if at not in below]

    def line(row: Sequence[str]) -> str:
        return _GAP.join(_padded(row[at], widths[at], right=columns[at].right) for at in beside).rstrip()

    heads = line([each.head for each in columns])
    console.print(Text(heads, style="bold"), soft_wrap=True)
    console.print(Text("─" * min(console.width, max(map(cell_len, (heads, *map(line, rows)))))))
    for row in rows:
        console.print(Text(line(row)), soft_wrap=True)
        for at in below:
            console.print(Text(_GAP + row[at]), soft_wrap=True)


def _padded(text: str, width: int, *, right: bool) -> str:
    padding = " " * (width - cell_len(text))
    return padding + text if right else text + padding


class Bar:
    """A progress bar on standard error, which is gone at the end."""

    def __init__(self, label: str, *, in_bytes: bool) -> None:
        counts: list[ProgressColumn] = (
            [DownloadColumn(), TransferSpeedColumn()] if in_bytes else [MofNCompleteColumn(), _Rate()]
        )
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            *counts,
            TimeRemainingColumn(),
            console=Console(stderr=True, highlight=False),
            transient=True,
        )
        self._task = self._progress.add_task(label, total=None)
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
