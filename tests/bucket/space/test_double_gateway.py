"""The double's REST gateway (docs/protocols/space.md, "REST gateway")."""

import json
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from tests.grpcweb_double.peer import Http, HttpResponse, connect, eventually, parse_response
from tests.grpcweb_double.wire import header_lines

from .double import Fault, SpaceDouble
from .double.fixtures import new_space_daemon, space_daemon

__all__ = ["new_space_daemon", "space_daemon"]


async def request(double: SpaceDouble, verb: str, path: str, body: object = None, **headers: str) -> HttpResponse:
    """A request with the token, on a connection of its own."""
    content = b"" if body is None else json.dumps(body).encode()
    fields = {"Host": "x", "Connection": "close", "Content-Length": str(len(content))}
    if double.world.token is not None:
        fields |= double.metadata
    http = Http()
    await connect(double.rest_port, http)
    http.write(f"{verb} {path} HTTP/1.1\r\n".encode() + header_lines(fields | headers) + b"\r\n" + content)
    await http.until_closed()
    response = parse_response(http.data)
    assert response is not None
    return response


async def ask(double: SpaceDouble, verb: str, path: str, body: object = None) -> Any:
    response = await request(double, verb, path, body)
    assert response.status == 200, response.body
    assert response.header("content-type") == "application/json"
    return json.loads(response.body)


@pytest_twisted.ensureDeferred
async def test_first_day(new_space_daemon: SpaceDouble) -> None:
    token = (await ask(new_space_daemon, "POST", "/v1/appTokens/master", {}))["appToken"]
    assert token == new_space_daemon.token
    assert len((await ask(new_space_daemon, "POST", "/v1/keypairs/generate", {}))["mnemonic"].split()) == 12
    key = (await ask(new_space_daemon, "POST", "/v1/publicKey", {}))["publicKey"]
    assert key == new_space_daemon.account.public_key
    assert (await ask(new_space_daemon, "POST", "/v1/keypairs/forceGenerate", {})).keys() == {"mnemonic"}
    assert new_space_daemon.account.public_key != key


@pytest_twisted.ensureDeferred
async def test_defaults_are_left_out_and_long_numbers_are_strings(space_daemon: SpaceDouble, tmp_path: Path) -> None:
    bucket = (await ask(space_daemon, "POST", "/v1/buckets", {"slug": "ddocker"}))["bucket"]
    assert bucket.keys() == {"key", "name", "path", "createdAt", "updatedAt", "itemsCount"}
    assert (type(bucket["createdAt"]), bucket["itemsCount"]) == (str, 1)
    assert len((await ask(space_daemon, "GET", "/v1/buckets"))["buckets"]) == 2

    sources = [str(tmp_path / name) for name in ("a", "b")]
    for source in sources:
        Path(source).write_text("x")
    space_daemon.faults.item_errors["b"] = "bucket encryption key missing"
    body = {"sourcePaths": sources, "targetPath": "d", "bucket": "ddocker"}
    response = await request(space_daemon, "POST", "/v1/files", body)
    lines = response.body.splitlines(keepends=True)
    assert all(line.endswith(b"\n") for line in lines)
    counters = {"totalFiles": "2", "totalBytes": "2", "completedBytes": "1"}
    good = {"sourcePath": sources[0], "bucketPath": json.loads(lines[0])["result"]["result"]["bucketPath"]}
    bad = {"sourcePath": sources[1], "error": "bucket encryption key missing"}
    assert [json.loads(line) for line in lines] == [
        {"result": {"result": good, "completedFiles": "1", **counters}},
        {"result": {"result": bad, "completedFiles": "2", **counters}},
    ]
    opened = await ask(space_daemon, "POST", "/v1/files/open", {"path": "d/a", "bucket": "ddocker"})
    assert Path(opened["location"]).read_text() == "x"
    listed = await ask(space_daemon, "GET", "/v1/directories?path=d&bucket=ddocker&omitMembers=true&other=1")
    (entry,) = listed["entries"]
    assert (entry["path"], entry["sizeInBytes"], "isDir" in entry, "members" in entry) == ("d/a", "1", False, False)
    everything = await ask(space_daemon, "GET", "/v1/directories/all?bucket=ddocker")
    assert [entry["path"] for entry in everything["entries"]] == ["d", "d/a"]
    assert await ask(space_daemon, "POST", "/v1/directories", {"path": "e", "bucket": "ddocker"}) == {}
    assert await ask(space_daemon, "DELETE", "/v1/files?path=d%2Fa&bucket=ddocker") == {}
    assert set(space_daemon.files()) == {"e/.keep"}
    assert await ask(space_daemon, "POST", "/v1/backup", {"bucket": "ddocker", "backup": True}) == {}
    assert (await ask(space_daemon, "POST", "/v1/buckets/ddocker/share", {}))["threadinfo"]["key"]
    assert {call.transport for call in space_daemon.calls} == {"rest"}


@pytest_twisted.ensureDeferred
async def test_errors(space_daemon: SpaceDouble) -> None:
    response = await request(space_daemon, "POST", "/v1/files/open", {"path": "a", "bucket": "ddocker"})
    error = json.loads(response.body)
    assert (response.status, error.keys(), error["code"]) == (500, {"error", "code", "message"}, 2)
    assert error["error"] == error["message"]
    assert error["message"].startswith("no link named")
    response = await request(space_daemon, "GET", "/v1/buckets", authorization="Bearer x")
    assert response.status == 401
    response = await request(space_daemon, "GET", "/v1/usage")
    assert json.loads(response.body) == {"error": "Not implemented", "code": 2, "message": "Not implemented"}
    response = await request(space_daemon, "POST", "/v1/files", {"sourcePaths": ["/none"]})
    expected = {"grpc_code": 2, "http_code": 500, "message": "path not found at /none"}
    assert (response.status, json.loads(response.body)) == (
        500,
        {"error": expected | {"http_status": "Internal Server Error"}},
    )
    assert not response.body.endswith(b"\n")
    for body in ({"path": 1}, "text", [1]):
        assert (await request(space_daemon, "POST", "/v1/files/open", body)).status == 400
    for path in ("/v1/none", "/v1/buckets/ddocker", "/v1/buckets/ddocker/share/x"):
        assert (await request(space_daemon, "GET", path)).status == 404


@pytest_twisted.ensureDeferred
async def test_stream_that_breaks_off(space_daemon: SpaceDouble, tmp_path: Path) -> None:
    sources = [str(tmp_path / name) for name in ("a", "b")]
    for source in sources:
        Path(source).write_text("x")
    body = {"sourcePaths": sources, "bucket": "ddocker"}
    space_daemon.faults.add(Fault("AddItems", after_messages=1, code=8, text="enough"))
    response = await request(space_daemon, "POST", "/v1/files", body)
    good, bad = response.body.splitlines()
    assert (response.status, json.loads(good).keys()) == (200, {"result"})
    assert json.loads(bad)["error"]["http_status"] == "Too Many Requests"
    space_daemon.faults.add(Fault("AddItems", after_messages=1))
    response = await request(space_daemon, "POST", "/v1/files", body)
    assert (response.complete, len(response.body.splitlines())) == (False, 1)


@pytest_twisted.ensureDeferred
async def test_connections_end_with_the_daemon(space_daemon: SpaceDouble) -> None:
    space_daemon.faults.add(Fault("ListBuckets", hang=True))
    waiting = Deferred.fromCoroutine(request(space_daemon, "GET", "/v1/buckets"))
    await eventually(lambda: len(space_daemon.calls.running()) == 1)
    await space_daemon.go_away()
    with pytest.raises(AssertionError):
        await waiting
    assert space_daemon.calls.calls[-1].finished is not None
    space_daemon.come_back()
    assert len((await ask(space_daemon, "GET", "/v1/buckets"))["buckets"]) == 2
