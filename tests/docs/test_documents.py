"""What the documents say about the code and about each other."""

import ast
import re
from pathlib import Path

import pytest

from ipfsreg.bucket.backends import BACKENDS

from .documents import CHECKOUT, DOCUMENTS, anchor, headings, links, table

SETUP = (CHECKOUT / "setup.py").read_text(encoding="utf-8")


def setup_argument(name: str) -> object:
    """What setup.py passes to setuptools under a name."""
    (value,) = [
        keyword.value
        for call in ast.walk(ast.parse(SETUP))
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "setup"
        for keyword in call.keywords
        if keyword.arg == name
    ]
    return ast.literal_eval(value)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_links_lead_somewhere(path: Path) -> None:
    for target in links(path):
        if target.startswith("https://"):
            continue
        name, _, fragment = target.partition("#")
        file = path.parent / name if name else path
        assert file.exists(), f"{target} is not there"
        if fragment:
            assert fragment in map(anchor, headings(file)), f"{target}: no such heading"


def test_every_document_can_be_found_from_the_readme() -> None:
    linked = {(CHECKOUT / target.partition("#")[0]).resolve() for target in links(CHECKOUT / "README.md")}
    missing = {path.name for path in (CHECKOUT / "docs").glob("*.md")} - {path.name for path in linked}
    assert missing == set()


def test_the_readme_tells_which_backends_there_are() -> None:
    rows = {row[0].split("`")[1]: row[-1] for row in table("README.md", "Backends")}
    assert {name for name, state in rows.items() if state != "planned"} == set(BACKENDS)
    assert next(iter(BACKENDS)) == "local"


def test_every_dependency_has_its_reason() -> None:
    required = setup_argument("install_requires")
    assert isinstance(required, list)
    extras = setup_argument("extras_require")
    assert isinstance(extras, dict)
    names = {re.split(r"[\[<>=!~ ]", requirement)[0] for requirement in (*required, *extras["tracing"])}
    rows = table("docs/dependencies.md", "Dependencies")
    assert {row[0].split("]")[0].strip("[") for row in rows} == names
    assert all(row[1] for row in rows)


def test_the_changelog_has_this_version() -> None:
    version = setup_argument("version")
    assert any(title.startswith(f"[{version}] - ") for title in headings(CHECKOUT / "CHANGELOG.md"))
