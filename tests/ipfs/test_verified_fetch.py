"""@helia/verified-fetch, the IPFS of browsers, fetches from this daemon over HTTP; npm's reader of CARs reads ours."""

import hashlib
import json
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest

from ipfsreg.ipfs.cid import CID, raw_cid
from ipfsreg.ipfs.file_dag import PROFILE
from tests.clients.programs import run
from tests.daemon_process import DaemonProcess
from tests.docs.documents import block
from tests.web.served import digest_of

from .files import file_dag
from .javascript import runner
from .test_kubo import ask

LAYER = Random(12).randbytes(3 * 1024 * 1024 + 5)
DAG = file_dag(LAYER, PROFILE)
Fetch = Callable[..., dict[str, Any]]
CONFIG = b'{"architecture": "amd64", "os": "linux"}'


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    runner.install()
    with DaemonProcess(tmp_path_factory.mktemp("registry"), {"registry": {"access_log": "yes"}}) as daemon:
        for data in (LAYER, CONFIG):
            ask(daemon, "POST", f"/v2/box/blobs/uploads/?digest={digest_of(data)}", data)
        yield daemon


@pytest.fixture(scope="module")
def fetch(registry: DaemonProcess) -> Iterator[Fetch]:
    """What the client gets; it has to speak to the daemon and to nobody else."""
    with runner.asking("fetch.mjs") as ask:

        def run(cid: CID, how: str, **headers: str) -> dict[str, Any]:
            asked = {"url": registry.url, "cid": str(cid), "how": how, "headers": headers}
            fetched: dict[str, Any] = json.loads(ask(asked))
            assert fetched.pop("contacts") == [registry.host]
            return fetched

        yield run


def answer(data: bytes, kind: str = "application/octet-stream", status: int = 200) -> dict[str, Any]:
    return {"status": status, "type": kind, "sha256": hashlib.sha256(data).hexdigest(), "length": len(data)}


@pytest.mark.parametrize("how", ["gateway", "routing"])
def test_it_fetches_a_layer(registry: DaemonProcess, fetch: Fetch, how: str) -> None:
    before = len(registry.log)
    assert fetch(DAG.cid, how) == answer(LAYER)
    asked = registry.log[before:]
    for place in DAG.walk(DAG.root):
        assert f'/ipfs/{DAG.cid_at(place)}?format=raw HTTP/1.1" 200 ' in asked
    assert ("/routing/v1/providers/" in asked) == (how == "routing")


def test_it_fetches_blocks(fetch: Fetch) -> None:
    cid = raw_cid(hashlib.sha256(CONFIG).digest())
    assert fetch(cid, "gateway") == answer(CONFIG, "application/json")
    raw = "application/vnd.ipld.raw"
    assert fetch(DAG.cid, "gateway", Accept=raw) == answer(DAG.block(DAG.root), raw)


def test_it_fetches_a_part_of_a_layer(registry: DaemonProcess, fetch: Fetch) -> None:
    first, last = 1024 * 1024 - 10, 1024 * 1024 + 9
    before = len(registry.log)
    part = fetch(DAG.cid, "gateway", Range=f"bytes={first}-{last}")
    assert part == answer(LAYER[first : last + 1], status=206)
    assert registry.log[before:].count('?format=raw HTTP/1.1" 200 ') == 3  # the root and two of its four leaves


def test_the_document(registry: DaemonProcess) -> None:
    script = block("docs/ipfs.md", "Helia", "js").replace("http://127.0.0.1:5000", registry.url)
    script = script.replace("bafybei…", str(DAG.cid))
    script += "console.log((await layer.arrayBuffer()).byteLength)\nprocess.exit()"
    assert run(runner.NODE, "--input-type=module", "--eval", script, cwd=runner.HERE) == f"{len(LAYER)}\n"


def test_a_car_is_read(registry: DaemonProcess) -> None:
    read = runner.answer_of("read-car.mjs", f"{registry.url}/ipfs/{DAG.cid}")
    assert read == {"roots": [str(DAG.cid)], "cids": [str(DAG.cid_at(place)) for place in DAG.walk(DAG.root)]}
