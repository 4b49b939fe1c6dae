"""Tables and a plot of figures by the number of manifests."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from tabulate import tabulate

Curve = Mapping[int, float]
"""A figure by how many manifests there were."""


def exponent(curve: Curve) -> float | None:
    """The slope of the line through a curve, both ways in logarithms: 0 does not grow, 1 is in proportion."""
    points = [(math.log(number), math.log(value)) for number, value in curve.items() if value > 0]
    if len(points) < 2:
        return None
    across, up = (sum(each) / len(points) for each in zip(*points, strict=True))
    rise: float = sum((x - across) * (y - up) for x, y in points)
    slope: float = rise / sum((x - across) ** 2 for x, _ in points)
    return slope


def table(curves: Mapping[str, Curve], units: Mapping[str, str], sizes: Sequence[int]) -> str:
    """The figures in Markdown, a column for each size."""
    rows = []
    for name, curve in curves.items():
        slope = exponent(curve)
        cells = [_number(curve[size]) if size in curve else "" for size in sizes]
        rows.append([name, units.get(name, ""), *cells, "" if slope is None else f"{slope:.2f}"])
    headers = ["figure", "unit", *(f"{size:,}" for size in sizes), "exponent"]
    return tabulate(rows, headers, tablefmt="github", disable_numparse=True)


def _number(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def plot(runs: Mapping[str, Mapping[str, Curve]], units: Mapping[str, str], wanted: Sequence[str], file: Path) -> None:
    """A picture for each figure, with a line for each run, as one SVG. It needs matplotlib."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    matplotlib.rcParams["svg.fonttype"] = "none"  # text is text
    matplotlib.rcParams["svg.hashsalt"] = "ipfsreg"  # the same figures give the same file
    across = 4
    down = -(-len(wanted) // across)
    figure, axes = pyplot.subplots(down, across, figsize=(3.2 * across, 2.6 * down), squeeze=False)
    pictures = [each for row in axes for each in row]
    for axis, name in zip(pictures, wanted, strict=False):
        for run, curves in runs.items():
            curve = curves.get(name, {})
            style = "--" if run.startswith("before") else "-"
            colour = "tab:green" if "kubo" in run else "tab:orange" if run.endswith("spread") else "tab:blue"
            axis.plot(list(curve), list(curve.values()), style, color=colour, marker=".", label=run)
        axis.set(title=f"{name}, {units[name]}", xscale="log", yscale="log")
        axis.title.set_fontsize(9)
        axis.tick_params(labelsize=7)
        axis.grid(visible=True, alpha=0.3)
    for axis in pictures[len(wanted) :]:
        axis.set_visible(False)
    handles, labels = pictures[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower right", ncol=len(labels), fontsize=8)
    figure.tight_layout(rect=(0, 0.03, 1, 1))
    figure.savefig(file, metadata={"Date": None})
