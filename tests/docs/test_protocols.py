"""The references from code to what is documented of other programs' protocols."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from .documents import CHECKOUT, headings

PROTOCOLS = CHECKOUT / "docs" / "protocols"

_REFERENCE = re.compile(r'docs/protocols/(?P<name>[\w-]+\.md)(?P<sections>(?:(?:,| and|, and| to) "[^"]+")*)')


def references() -> Iterator[tuple[str, str, list[str]]]:
    """Of each reference the file that has it, the document, and the titles of its sections."""
    for folder in ("ipfsreg", "tests", "bench"):
        for path in sorted((CHECKOUT / folder).rglob("*.py")):
            if path != Path(__file__):
                text = re.sub(r"\s*\n\s*(# )?", " ", path.read_text(encoding="utf-8"))
                for match in _REFERENCE.finditer(text):
                    yield str(path), match["name"], re.findall(r'"([^"]+)"', match["sections"])


def test_what_code_refers_to_is_there() -> None:
    found = list(references())
    assert {name for _, name, _ in found} >= {"grpc-web.md", "kubo.md", "space.md", "textile.md"}
    for path, name, sections in found:
        missing = set(sections) - set(headings(PROTOCOLS / name))
        assert not missing, f"{path}: {name} has no section {missing}"


def test_code_refers_to_nothing_outside_the_repository() -> None:
    for folder in ("ipfsreg", "tests", "bench"):
        for path in (CHECKOUT / folder).rglob("*.py"):
            if path != Path(__file__):
                assert "fact sheet" not in path.read_text(encoding="utf-8").lower(), path


@pytest.mark.parametrize("path", sorted(PROTOCOLS.glob("*.md")), ids=lambda path: path.name)
def test_every_document_is_in_the_index(path: Path) -> None:
    if path.name != "README.md":
        assert f"]({path.name})" in (PROTOCOLS / "README.md").read_text(encoding="utf-8")
