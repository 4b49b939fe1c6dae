"""docs/operations.md: its commands as they stand there, and its table of what the log says."""

import ast
import http.client
import os
import re
import shutil
from pathlib import Path

import pytest

from ipfsreg.registry.digest import digest_of
from tests.clients.programs import require_program, run
from tests.daemon_process import DaemonProcess, program
from tests.marks import full

from .documents import CHECKOUT, block, table

DOCUMENT = "docs/operations.md"


def test_a_backup_is_restored(tmp_path: Path) -> None:
    require_program("rsync")
    data = tmp_path / ".local" / "share" / "ipfsreg"
    environment = {"HOME": str(tmp_path), "PATH": f"{Path(program('ipfsreg')).parent}:{os.environ['PATH']}"}
    daemon = DaemonProcess(tmp_path, {"local": {"path": str(data)}})
    with daemon:
        digest = push(daemon, b"kept")
    shell("While it is stopped", tmp_path, environment)
    shutil.rmtree(data)
    with daemon:
        assert status(daemon, "HEAD", f"/v2/app/blobs/{digest}") == 404
    assert "Everything is whole" in shell("Restore", tmp_path, environment)
    with daemon:
        assert status(daemon, "HEAD", f"/v2/app/blobs/{digest}") == 200


def shell(heading: str, directory: Path, environment: dict[str, str]) -> str:
    return run("sh", "-e", "-c", block(DOCUMENT, heading), cwd=directory, env=environment)


def push(daemon: DaemonProcess, content: bytes) -> str:
    digest = str(digest_of(content))
    assert status(daemon, "POST", f"/v2/app/blobs/uploads/?digest={digest}", content) == 201
    return digest


def status(daemon: DaemonProcess, method: str, path: str, body: bytes | None = None) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=30)
    connection.request(method, path, body)
    answer = connection.getresponse().status
    connection.close()
    return answer


def lines_that_ask_for_something() -> set[str]:
    """What the program writes to the log as a warning or an error, with … for what differs."""
    found = set()
    for path in (CHECKOUT / "ipfsreg").rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        if ".warn(" not in source and ".error(" not in source:
            continue
        for node in ast.walk(ast.parse(source)):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
                continue
            logger, text = ast.unparse(node.func.value), node.args[0]
            if node.func.attr in {"warn", "error"} and logger.endswith("log") and isinstance(text, ast.Constant):
                found.add(re.sub(r"\{[^}]*\}", "…", str(text.value)))
    return found - {"…"}  # what says all of it in other words, of a backend's own


def test_the_table_has_each_line_that_asks_for_something() -> None:
    rows = table(DOCUMENT, "What the log says")
    assert {row[0] for row in rows} == lines_that_ask_for_something()
    assert all(row[1] and row[2] for row in rows)


@pytest.fixture
def mkdocs() -> str:
    return require_program("mkdocs", str(Path(program("python")).parent))


@full
def test_the_site_builds(mkdocs: str, tmp_path: Path) -> None:
    run(mkdocs, "build", "--quiet", "--site-dir", tmp_path / "site", cwd=CHECKOUT, env=None)
    for page in ("index.html", "kubo/index.html", "reference/options/index.html", "changelog/index.html"):
        assert (tmp_path / "site" / page).is_file(), page
    front = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert 'href="architecture/"' in front
    for address in re.findall(r'(?:src|href)="(https?://[^"]+)"', front):
        assert not re.search(r"\.(css|js|woff2?)\b", address), f"loaded from elsewhere: {address}"


@full
def test_a_dead_link_fails_the_site(mkdocs: str, tmp_path: Path) -> None:
    copied = tmp_path / "checkout"
    copied.mkdir()
    shutil.copytree(CHECKOUT / "docs", copied / "docs", ignore=shutil.ignore_patterns("__pycache__"))
    (copied / "etc").mkdir()
    for name in ("mkdocs.yml", "README.md", "CHANGELOG.md", "etc/ipfsreg.ini"):
        shutil.copy(CHECKOUT / name, copied / name)
    with (copied / "docs" / "local.md").open("a", encoding="utf-8") as page:
        page.write("\n[gone](nowhere.md) and [there](kubo.md#no-such-heading)\n")
    said = run(mkdocs, "build", "--site-dir", tmp_path / "site", cwd=copied, env=None, fails=True)
    assert "nowhere.md" in said
    assert "no-such-heading" in said
