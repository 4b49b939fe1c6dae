"""Helia, the IPFS of browsers, fetches from this daemon over HTTP; and npm's reader of CARs reads ours."""

import hashlib
from collections.abc import Iterator
from random import Random

import pytest

from ipfsreg.ipfs.file_dag import PROFILE
from tests.daemon_process import DaemonProcess
from tests.web.served import digest_of

from .files import file_dag
from .javascript import runner
from .test_kubo import ask

LAYER = Random(12).randbytes(3 * 1024 * 1024 + 5)
DAG = file_dag(LAYER, PROFILE)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    runner.install()
    with DaemonProcess(tmp_path_factory.mktemp("registry"), {"registry": {"access_log": "yes"}}) as daemon:
        ask(daemon, "POST", f"/v2/box/blobs/uploads/?digest={digest_of(LAYER)}", LAYER)
        yield daemon


@pytest.mark.parametrize("how", ["gateway", "routing"])
def test_it_fetches_a_layer(registry: DaemonProcess, how: str) -> None:
    before = registry.log.count("/routing/v1/providers/")
    fetched = runner.answer_of("fetch.mjs", registry.url, str(DAG.cid), how)
    assert fetched == {"sha256": hashlib.sha256(LAYER).hexdigest(), "length": len(LAYER)}
    assert (registry.log.count("/routing/v1/providers/") > before) == (how == "routing")


def test_a_car_is_read(registry: DaemonProcess) -> None:
    read = runner.answer_of("read-car.mjs", f"{registry.url}/ipfs/{DAG.cid}")
    assert read == {"roots": [str(DAG.cid)], "cids": [str(DAG.cid_at(place)) for place in DAG.walk(DAG.root)]}
