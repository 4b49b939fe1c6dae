"""The table that people read and the document that machines read."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from .figures import Figure


def _number(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}"


def _cell(figure: Figure, registry: str) -> str:
    samples = figure.samples.get(registry)
    median = figure.median(registry)
    if not samples or median is None:
        return ""
    if len(samples) == 1:
        return _number(median)
    return f"{_number(median)} ({_number(min(samples))} to {_number(max(samples))})"


def _aim(figure: Figure, ours: str, others: Sequence[str]) -> str:
    if figure.aim.value is not None:
        wanted = f"{'≥' if figure.higher_is_better else '≤'} {figure.aim.value:g} {figure.unit}"
    elif figure.aim.ratio is not None:
        wanted = f"{figure.aim.ratio:g}x" + (f" {figure.aim.to}" if figure.aim.to else "")
    else:
        return ""
    reached = figure.reached(ours, others)
    return wanted if reached is None else f"{wanted}: {'reached' if reached else 'missed'}"


def table(figures: Sequence[Figure], registries: Sequence[str], ours: str) -> str:
    """A Markdown table: for each figure the median (least to most) of each registry, ratios, and the aim.

    A ratio above 1 says that ``ours`` is better, be it faster or smaller. The aim is judged against the first
    other, unless it names one.
    """
    others = [name for name in registries if name != ours]
    ratios = others if ours in registries else []
    rows = []
    for figure in figures:
        compared = []
        for other in ratios:
            ratio = figure.ratio(ours, other)
            compared.append("" if ratio is None else f"{_number(ratio)}x")
        rows.append(
            [
                figure.name,
                figure.unit,
                *[_cell(figure, name) for name in registries],
                *compared,
                _aim(figure, ours, others),
            ]
        )
    headers = ["figure", "unit", *registries, *[f"{ours} / {other}" for other in ratios], "aim"]
    return tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True)


def notes(figures: Sequence[Figure]) -> list[str]:
    """What a reader has to know of the figures: each note once, after the names of those that have it."""
    names: dict[str, list[str]] = {}
    for figure in figures:
        if figure.note:
            names.setdefault(figure.note, []).append(figure.name)
    return [f"{'; '.join(of)}: {note}" for note, of in names.items()]


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Write the document, readable for people too."""
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
