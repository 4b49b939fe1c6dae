"""oras: artifacts, attached ones with their referrers, single blobs and manifests."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from . import programs
from .images import sha256
from .programs import client_environment, needed, require_program, run
from .recorder import Recorder

Oras = Callable[..., str]
REPORT = "application/vnd.example.report"
SIGNATURE = "application/vnd.example.signature"

oras_is_there = needed("oras", f"{programs.NEWER_ENGINE_PATH}:{os.environ['PATH']}")


@pytest.fixture
def oras(tmp_path: Path) -> Oras:
    """Run oras in a folder that has `data.bin` (two megabytes) and `note.txt`."""
    env = client_environment(tmp_path / "home", [programs.NEWER_ENGINE_PATH])
    program = require_program("oras", env["PATH"])
    (tmp_path / "data.bin").write_bytes(bytes(range(256)) * 8192)
    (tmp_path / "note.txt").write_text("a note\n")

    def oras(*arguments: str | Path, fails: bool = False) -> str:
        return run(program, *arguments, env=env, cwd=tmp_path, fails=fails)

    return oras


def push(oras: Oras, name: str) -> str:
    """Push `data.bin` as an artifact; its digest."""
    output = oras("push", "--plain-http", "--artifact-type", REPORT, name, "data.bin:application/octet-stream")
    (line,) = [line for line in output.splitlines() if line.startswith("Digest: ")]
    return line.removeprefix("Digest: ")


def test_push_and_pull(oras: Oras, wire: Recorder, tmp_path: Path) -> None:
    name = f"{wire.host}/artifacts/report"
    digest = push(oras, f"{name}:1")
    assert wire.exchanges("PATCH") == []  # each blob in one PUT
    for folder, reference in (("by-tag", f"{name}:1"), ("by-digest", f"{name}@{digest}")):
        oras("pull", "--plain-http", "--output", tmp_path / folder, reference)
        assert (tmp_path / folder / "data.bin").read_bytes() == (tmp_path / "data.bin").read_bytes()


def test_attached_artifacts_are_discovered(oras: Oras, wire: Recorder) -> None:
    name = f"{wire.host}/artifacts/subject:1"
    digest = push(oras, name)
    for kind in (REPORT, SIGNATURE):
        oras("attach", "--plain-http", "--artifact-type", kind, name, "note.txt:text/plain")

    def found(*options: str) -> list[str]:
        told = json.loads(oras("discover", "--plain-http", "--format", "json", *options, name))
        return sorted(entry["artifactType"] for entry in told["manifests"])

    assert found() == [REPORT, SIGNATURE]
    assert found("--artifact-type", SIGNATURE) == [SIGNATURE]
    assert {e.status for e in wire.exchanges("GET", f"/referrers/{digest}")} == {200}
    # No fallback tag: the registry has told oras with OCI-Subject that it keeps referrers itself.
    assert oras("repo", "tags", "--plain-http", name.removesuffix(":1")).split() == ["1"]


def test_copy_with_its_referrers_mounts(oras: Oras, wire: Recorder, tmp_path: Path) -> None:
    first, second = f"{wire.host}/artifacts/from:1", f"{wire.host}/artifacts/into:1"
    push(oras, first)
    oras("attach", "--plain-http", "--artifact-type", SIGNATURE, first, "note.txt:text/plain")
    wire.clear()
    oras("cp", "--recursive", "--from-plain-http", "--to-plain-http", first, second)
    mounts = [e for e in wire.exchanges("POST", "/v2/artifacts/into/") if "mount" in e.query]
    assert {(exchange.query["from"], exchange.status) for exchange in mounts} == {("artifacts/from", 201)}
    assert sum(exchange.sent for exchange in wire.exchanges("PUT", "/blobs/uploads/")) == 0

    oras("pull", "--plain-http", "--output", tmp_path / "back", second)
    assert (tmp_path / "back" / "data.bin").read_bytes() == (tmp_path / "data.bin").read_bytes()
    told = json.loads(oras("discover", "--plain-http", "--format", "json", second))
    assert [entry["artifactType"] for entry in told["manifests"]] == [SIGNATURE]


def test_blobs_tags_and_deletion(oras: Oras, wire: Recorder, tmp_path: Path) -> None:
    name = f"{wire.host}/artifacts/parts"
    digest = push(oras, f"{name}:1")
    note = sha256((tmp_path / "note.txt").read_bytes())
    oras("blob", "push", "--plain-http", f"{name}@{note}", "note.txt")
    assert oras("blob", "fetch", "--plain-http", "--output", "-", f"{name}@{note}") == "a note\n"
    oras("blob", "delete", "--plain-http", "--force", f"{name}@{note}")
    assert "not found" in oras("blob", "fetch", "--plain-http", "--output", "-", f"{name}@{note}", fails=True)

    oras("tag", "--plain-http", f"{name}:1", "stable", "latest")
    assert sorted(oras("repo", "tags", "--plain-http", name).split()) == ["1", "latest", "stable"]
    listed = oras("repo", "ls", "--plain-http", wire.host).split()
    assert "artifacts/parts" in listed
    oras("manifest", "delete", "--plain-http", "--force", f"{name}@{digest}")
    assert "not found" in oras("manifest", "fetch", "--plain-http", f"{name}:stable", fails=True)
