"""The project's documents, taken apart: their fenced blocks, tables and links."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]

DOCUMENTS = sorted([*CHECKOUT.glob("*.md"), *CHECKOUT.glob("docs/**/*.md"), *CHECKOUT.glob("bench/*.md")])
"""Every document for readers of the project."""

_FENCED = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ (?P<title>.+)$", re.MULTILINE)
_LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced block of a document (its name within the checkout), and the heading that it is under."""

    document: str
    heading: str
    language: str
    text: str


def blocks(language: str) -> list[Block]:
    """Every block of a language, in all documents."""
    return [block for path in DOCUMENTS for block in _blocks(path) if block.language == language]


def block(document: str, heading: str, language: str = "sh") -> str:
    """The text of the one block of a language under a heading."""
    (found,) = [each for each in blocks(language) if (each.document, each.heading) == (document, heading)]
    return found.text


def headings(path: Path) -> list[str]:
    """The titles of a document's sections."""
    return _headings(path.read_text(encoding="utf-8"))


def anchor(title: str) -> str:
    """The name by which links lead to a section, as forges make it."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def links(path: Path) -> Iterator[str]:
    """The targets of a document's links."""
    for match in _LINK.finditer(_FENCED.sub("", path.read_text(encoding="utf-8"))):
        yield match["target"]


def table(document: str, heading: str) -> list[list[str]]:
    """The rows of the first table under a heading, without its head: the text of each cell."""
    text = (CHECKOUT / document).read_text(encoding="utf-8")
    (start,) = [match.end() for match in _HEADING.finditer(text) if match["title"] == heading]
    lines = text[start:].splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("|"))
    rows = []
    for line in lines[first + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def _blocks(path: Path) -> Iterator[Block]:
    text = path.read_text(encoding="utf-8")
    for match in _FENCED.finditer(text):
        heading = ["", *_headings(text[: match.start()])][-1]
        yield Block(str(path.relative_to(CHECKOUT)), heading, match["language"], match["text"])


def _headings(text: str) -> list[str]:
    # Without fenced blocks, in which a comment of a shell would look like a heading.
    return [match["title"] for match in _HEADING.finditer(_FENCED.sub("", text))]
