"""The README's transcript of the first five minutes, typed as it stands there, and what is printed compared with it."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ipfsreg import __version__
from tests.clients.images import busybox_layout
from tests.clients.programs import client_environment, require_program
from tests.daemon_process import DaemonProcess, program

from .documents import blocks

HEADING = "The first five minutes"
DIFFERS = {
    r"sha256:[0-9a-f]{64}": "DIGEST",
    r"bafkrei[a-z2-7]{52}": "CID",
    r"process \d+": "process N",
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+0000 \[[^]]*\] ": "",
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00": "TIME",
    r"on Python [\d.]+": "on Python N",
    r"[\d.]+ (?:[kMGT]B|bytes?)\b": "SIZE",  # a pipe gets bytes, a terminal what is easy to read
}
"""What is another one each time, here and there."""


@pytest.fixture(scope="module")
def busybox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for name in ("umoci", "busybox", "skopeo"):
        require_program(name)
    directory = tmp_path_factory.mktemp("images")
    return busybox_layout(directory, directory)


def same(text: str) -> list[str]:
    for pattern, word in DIFFERS.items():
        text = re.sub(pattern, word, text)
    return text.splitlines()


def transcript() -> Iterator[tuple[str, str]]:
    """Each command, and what it prints."""
    for block in blocks("console"):
        if (block.document, block.heading) == ("README.md", HEADING):
            for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
                command, _, printed = part.partition("\n")
                yield command, printed


def check(printed: str, expected: str) -> None:
    """Compare line by line up to a line with an ellipsis; in a line, up to the ellipsis."""
    shown, there = same(expected), same(printed)
    for number, line in enumerate(shown):
        if line.strip() == "…":
            return
        assert there[number].startswith(line.removesuffix("…"))
    assert len(there) == len(shown)


def test_it(tmp_path: Path, busybox: Path) -> None:
    (start, said), *typed = transcript()
    assert start == "make run"
    daemon = DaemonProcess(tmp_path)
    told = [("/home/you/.local/share/ipfsreg", str(daemon.path))]
    with daemon:
        told += [
            ("without a configuration file", "as ipfsreg.ini says"),
            ("127.0.0.1:5000", daemon.host),
            ("docker://docker.io/library/busybox", f"oci:{busybox}:multi"),
            ("0.1.0", __version__),
        ]
        home = client_environment(tmp_path / "home")
        env = home | {"PATH": f"{Path(program('ipfsreg')).parent}:{home['PATH']}"}
        for command, printed in typed:
            for text, substitute in told:
                command, printed = command.replace(text, substitute), printed.replace(text, substitute)
            done = subprocess.run(
                ["sh", "-euc", command], cwd=daemon.directory, env=env, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, (command, done.stderr)
            check(done.stdout, printed)
        lines = said.replace("without a configuration file", f"configured by {daemon.directory / 'ipfsreg.ini'}")
        for text, substitute in told:
            lines = lines.replace(text, substitute)
        check(daemon.log, lines.replace("one was made.", "one was made.…"))
