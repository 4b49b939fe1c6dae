"""The official JavaScript client works with the double, which so can't share a mistake with our client."""

import base64
import hashlib
import json
import re
from pathlib import Path

import pytest
import pytest_twisted

from ipfsreg.bucket.space.proto import space_pb2

from .double import SpaceDouble
from .double.fixtures import new_space_daemon, space_daemon
from .javascript import runner

__all__ = ["new_space_daemon", "space_daemon"]


@pytest.fixture(scope="module", autouse=True)
def _client() -> None:
    runner.install()


@pytest_twisted.ensureDeferred
async def test_whole_session(new_space_daemon: SpaceDouble, tmp_path: Path) -> None:
    double = new_space_daemon
    contents = {"sha256:small": b"small", "sha256:large": bytes(range(256)) * 3000, "refused": b"x"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    double.faults.item_errors["refused"] = "bucket encryption key missing"
    sources = [str(tmp_path / name) for name in contents]
    options = {"host": double.url, "bucket": "ddocker", "sources": sources, "refused": "refused"}
    seen = await runner.run("trial.mjs", options)

    assert seen["unauthenticated"] == {"code": 16, "message": "Request unauthenticated with AppToken"}
    assert seen["token"] == double.token
    assert re.fullmatch(r"[\w-]{27}\.[\w-]{40}", seen["token"])
    assert seen["second"] == {"code": 2, "message": "master app token already exists"}
    assert seen["wrong"] == {"code": 16, "message": "invalid auth token: app token secret does not match"}
    assert seen["noKey"] == {"code": 2, "message": "No key pair found in the local db."}
    assert len(seen["mnemonic"].split()) == 12
    assert seen["publicKey"] == double.account.public_key
    assert seen["pairExists"]["message"].endswith("Key pair already exists.")

    assert seen["bucket"] == seen["again"]
    assert (seen["bucket"]["name"], seen["bucket"]["key"]) == ("ddocker", double.bucket().key)
    assert seen["buckets"] == ["personal", "ddocker"]

    assert [item["result"]["error"] for item in seen["added"]] == ["", "", "bucket encryption key missing"]
    assert [item["result"]["sourcepath"] for item in seen["added"]] == sources
    assert seen["added"][1]["result"]["bucketpath"].startswith("/ipfs/baf")
    assert (seen["added"][2]["totalbytes"], seen["added"][2]["completedbytes"]) == (768006, 768005)
    assert seen["notThere"] == {"code": 2, "message": "path not found at /none"}

    opened = {file["name"]: base64.b64decode(file["base64"]) for file in seen["opened"]}
    assert opened == {name: contents[name] for name in ("sha256:small", "sha256:large")}
    assert all(file["location"].endswith(f"-{file['name']}") for file in seen["opened"])
    assert double.touched == []
    for missing in (seen["missing"], seen["gone"]):
        assert missing["code"] == 2
        assert re.fullmatch(r'no link named "[\w=-]+" under baf\w+', missing["message"])
    assert [(entry["name"], entry["path"]) for entry in seen["listed"]] == [
        (name, f"blobs/{name}") for name in sorted(opened, key=double.record().cipher.encrypt_name)
    ]
    assert {entry["sizeinbytes"] for entry in seen["listed"]} >= {"5"}
    assert set(seen["all"]) == {"blobs", *(f"blobs/{name}" for name in opened), "manifests", *KEPT}

    assert double.record().thread in seen["shared"]["addressesList"][0]
    assert seen["link"]["link"].endswith(f"hash={seen['link']['filecid']}")
    assert seen["usage"] == {"code": 2, "message": "Not implemented"}
    assert seen["typo"] == seen["spoiled"] == {"code": 2, "message": "bucket typo not found"}
    assert double.junk() == ["typo"]
    assert {call.transport for call in double.calls} == {"post"}


KEPT = {"manifests/hello", "manifests/hello/.keep"}


@pytest_twisted.ensureDeferred
async def test_files_written_as_the_original_program_did(space_daemon: SpaceDouble) -> None:
    layer, config = b"layer" * 1000, b"{}"
    files = {f"blobs/sha256:{hashlib.sha256(blob).hexdigest()}": blob for blob in (layer, config)}
    files["manifests/hello/latest"] = json.dumps({"schemaVersion": 2}).encode()
    written = await runner.write_as_original(space_daemon.url, space_daemon.token, files, bucket="other")
    assert {path: space_daemon.read(path, "other") for path in space_daemon.files("other")} == files
    assert written["roots"][-1] == space_daemon.bucket("other").path
    assert len(set(written["roots"])) == 3


def messages_of(proto: str) -> dict[str, set[tuple[str, str, int]]]:
    """The fields of each message of a .proto file: type, name, number."""
    found = {}
    for name, body in re.findall(r"^message (\w+) \{([^}]*)\}", proto, re.MULTILINE):
        fields = re.findall(r"^\s*((?:repeated )?\w+) (\w+) *= *(\d+);", body, re.MULTILINE)
        found[name] = {(kind, field, int(number)) for kind, field, number in fields}
    return found


def test_messages_are_those_of_the_client() -> None:
    # A type's name does not go over the wire, and this one is ours.
    ours = Path(space_pb2.__file__).with_name("space.proto").read_text().replace(" Entry ", " ListDirectoryEntry ")
    theirs = messages_of(runner.PROTO.read_text())
    compared = messages_of(ours)
    assert len(compared) > 35
    assert compared == {name: theirs[name] for name in compared}
