"""What the site has beside the files of this folder, and where its links lead: hooks of MkDocs (mkdocs.yml).

The README is the first page, CHANGELOG.md one of the last; the reference of options is etc/ipfsreg.ini by section.
"""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

CHECKOUT = Path(__file__).parent.parent
_PAGES = {"CHANGELOG.md": "changelog.md", "README.md": "index.md", "etc/ipfsreg.ini": "reference/options.md"}
_LINK = re.compile(r"\]\((?P<target>[^)\s#]+)(?P<fragment>#[^)\s]*)?\)")
_SECTION = re.compile(r"^\[(?P<name>\w+)\]$", re.MULTILINE)


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are no files of this folder."""
    made = {
        "index.md": (CHECKOUT / "README.md").read_text(encoding="utf-8"),
        "changelog.md": (CHECKOUT / "CHANGELOG.md").read_text(encoding="utf-8"),
        "reference/options.md": _options((CHECKOUT / "etc" / "ipfsreg.ini").read_text(encoding="utf-8")),
    }
    for name, content in made.items():
        files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let links lead to the site's pages; what is only in the sources is named without a link."""
    source = page.file.src_uri
    folder = {"index.md": CHECKOUT, "changelog.md": CHECKOUT}.get(source, CHECKOUT / "docs" / Path(source).parent)
    return _LINK.sub(lambda match: _led(match, folder, source), markdown)


def _led(match: "re.Match[str]", folder: Path, source: str) -> str:
    target, fragment = match["target"], match["fragment"] or ""
    if ":" in target:
        return match[0]
    path = (folder / target).resolve()
    if not path.is_relative_to(CHECKOUT) or not path.exists():
        return match[0]  # MkDocs names it as dead
    name = str(path.relative_to(CHECKOUT))
    page = _PAGES.get(name) or (name.removeprefix("docs/") if re.fullmatch(r"docs/.*\.(md|png|svg)", name) else None)
    if page is None:
        return "]"  # the text stays, in brackets: it is only in the sources
    up = "../" * source.count("/")
    return f"]({up}{page}{fragment})"


def _options(text: str) -> str:
    """The shipped configuration as a page with a heading for each section."""
    starts = list(_SECTION.finditer(text))
    head = text[: starts[0].start()].replace("# ", "").replace("#", "").strip()
    pages = ["# Every option", head]
    for number, start in enumerate(starts):
        end = starts[number + 1].start() if number + 1 < len(starts) else len(text)
        pages.append(f"## [{start['name']}]\n\n```ini\n{text[start.end() : end].strip()}\n```")
    return "\n\n".join(pages) + "\n"
