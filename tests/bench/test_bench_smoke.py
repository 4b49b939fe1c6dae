"""The benchmark runs, measures this registry, and leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from bench.__main__ import main
from tests.clients.programs import TOOLS, require_program, thorough
from tests.marks import full

CHECKOUT = Path(__file__).resolve().parents[2]
WITHIN = 120


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench", *arguments],
        cwd=CHECKOUT,
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=WITHIN,
        check=False,
    )


def refused(*arguments: str) -> str:
    """What the benchmark says of arguments that it does not take, in one line."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        result = CliRunner().invoke(main, arguments, prog_name="bench")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert result.exit_code == 2
    return " ".join(result.stderr.split())


def processes_that_mention(text: str) -> list[int]:
    return [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if any(text in part for part in process.info["cmdline"] or [])
    ]


def test_start_of_this_registry(tmp_path: Path) -> None:
    data, document = tmp_path / "data", tmp_path / "figures.json"
    data.mkdir()
    done = run("--quick", "--only", "start", "--registry", "ipfsreg", "--dir", str(data), "--json", str(document))
    assert done.returncode == 0, done.stderr
    assert "| start to ready " in done.stdout

    figures = {figure["name"]: figure for figure in json.loads(document.read_text())["figures"]["start"]}
    (seconds,) = figures["start to ready"]["samples"]["ipfsreg"]
    assert 0.01 < seconds < 60
    (idle,) = figures["memory when idle (PSS)"]["samples"]["ipfsreg"]
    assert 1 < idle < 1024
    assert list(data.iterdir()) == []
    assert processes_that_mention(str(data)) == []


@thorough
def test_what_access_control_costs(tmp_path: Path) -> None:
    document = tmp_path / "figures.json"
    done = run("--quick", "--only", "access", "--registry", "ipfsreg", "--dir", str(tmp_path), "--json", str(document))
    assert done.returncode == 0, done.stderr
    figures = json.loads(document.read_text())["figures"]["access"]
    assert all(figure["samples"]["ipfsreg"] for figure in figures if figure["unit"].endswith("/s"))
    assert [figure["aim"]["value"] for figure in figures if figure["unit"] == "%"] == [10, 15] * 3


@full
def test_a_registry_that_does_not_start_is_reported_and_cleaned_up(tmp_path: Path) -> None:
    program = f"{sys.executable} -c 'raise SystemExit(\"no luck on {{port}} in {{dir}}\")'"
    done = run(
        "--quick",
        "--only",
        "start",
        "--registry",
        "ipfsreg",
        "--peer",
        f"broken={program}",
        "--dir",
        str(tmp_path),
    )
    assert done.returncode == 1
    assert "broken ended with 1" in done.stderr
    assert "no luck on" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
    assert processes_that_mention(str(tmp_path)) == []


@thorough
def test_small_requests_beside_another_checkout(tmp_path: Path) -> None:
    """The other one is this one by another name, with the virtual environment that runs this."""
    data, document, other = tmp_path / "data", tmp_path / "figures.json", tmp_path / "other"
    for directory in (data, other):
        directory.mkdir()
    for name in ("ipfsreg", "twisted"):
        (other / name).symlink_to(CHECKOUT / name)
    (other / ".venv").symlink_to(sys.prefix)
    which = ("--registry", "ipfsreg", "--peer-checkout", f"before={other}")
    done = run("--quick", "--only", "requests", *which, "--dir", str(data), "--json", str(document))
    assert done.returncode == 0, done.stderr
    assert "ipfsreg / before" in done.stdout

    figures = {figure["name"]: figure for figure in json.loads(document.read_text())["figures"]["requests"]}
    for what in ("GET /v2/", "manifest HEAD by tag", "manifest GET by tag", "manifest GET by digest"):
        samples = figures[what]["samples"]
        assert set(samples) == {"ipfsreg", "before"}
        assert all(rate > 0 for (rate,) in samples.values())
        assert all(rate > 0 for (rate,) in figures[f"{what}, for the daemon's CPU"]["samples"].values())
    assert list(data.iterdir()) == []
    assert processes_that_mention(str(tmp_path)) == []


def test_a_checkout_that_cannot_be_run_is_refused(tmp_path: Path) -> None:
    assert "has no .venv with twistd" in refused("--quick", "--only", "start", "--peer-checkout", f"before={tmp_path}")


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("name", "NAME=COMMAND is wanted"),
        ("name=serve --port {port}", "has no {dir}"),
        ("name=serve {port} {dir} {other}", "unknown placeholder"),
        ("ipfsreg=serve {port} {dir}", "same name"),
    ],
)
def test_a_peer_that_cannot_be_run_is_refused(value: str, complaint: str) -> None:
    assert complaint in refused("--quick", "--only", "start", "--peer", value)


@thorough
def test_what_encryption_costs(tmp_path: Path) -> None:
    document = tmp_path / "figures.json"
    done = run(
        "--quick", "--only", "encrypted", "--registry", "ipfsreg", "--dir", str(tmp_path), "--json", str(document)
    )
    assert done.returncode == 0, done.stderr
    figures = {figure["name"]: figure for figure in json.loads(document.read_text())["figures"]["encrypted"]}
    for way in ("plain", "encrypted"):
        (rate,) = figures[f"8 MiB layer in, {way}"]["samples"]["ipfsreg"]
        assert rate > 0


@thorough
def test_copying_beside_other_programs() -> None:
    for name in ("docker-registry", "skopeo"):
        require_program(name)
    require_program("regsync", path=str(TOOLS / "bin"))
    words = [sys.executable, "-m", "bench.copying", "--quick", "--rounds", "1", "--to", "docker-registry"]
    done = subprocess.run(words, cwd=CHECKOUT, capture_output=True, text=True, timeout=WITHIN, check=False)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in ("ipfsreg copy", "skopeo sync", "regsync", "nothing to do"))
