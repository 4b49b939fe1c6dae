"""Who has a block, as IPFS nodes ask for it (specs.ipfs.tech/routing/http-routing-v1/)."""

import json

import pytest
import pytest_twisted

from ipfsreg.ipfs.cid import CID, DAG_PB, RAW, SHA2_256, cid_of
from ipfsreg.ipfs.multiaddr import to_multiaddr
from tests.web.served import Serve, Served

from .test_gateway import DAG, LAYER, UNKNOWN, settled

LINES = "application/x-ndjson"
KUBO = "?filter-protocols=unknown,transport-bitswap,transport-ipfs-gateway-http"


@pytest_twisted.ensureDeferred
async def test_what_is_here(registry: Served) -> None:
    await registry.push_blob(LAYER)
    await settled(registry)
    record = {
        "Schema": "peer",
        "ID": (registry.store / "peer-id").read_text().strip(),
        "Addrs": [f"/ip4/127.0.0.1/tcp/{registry.port}/http"],
        "Protocols": ["transport-ipfs-gateway-http"],
    }
    version_0 = CID(0, DAG_PB, SHA2_256, DAG.cid.hash)
    for cid in (DAG.cid, version_0, *map(DAG.cid_at, DAG.walk(DAG.root))):
        for question in ("", KUBO, "?filter-addrs=tcp,https", "?filter-addrs=!p2p-circuit"):
            answer = await registry.ask("GET", f"/routing/v1/providers/{cid}{question}", host(registry))
            assert (answer.status, answer["content-type"]) == (200, "application/json")
            assert answer.json() == {"Providers": [record]}
    answer = await registry.ask("GET", f"/routing/v1/providers/{DAG.cid}{KUBO}", host(registry) | {"Accept": LINES})
    assert (answer.status, answer["content-type"]) == (200, LINES)
    assert [json.loads(line) for line in answer.content.splitlines()] == [record]
    head = await registry.ask("HEAD", f"/routing/v1/providers/{DAG.cid}")
    assert (head.status, head.content) == (200, b"")
    for question in ("?filter-protocols=transport-bitswap", "?filter-addrs=!http", "?filter-addrs=webrtc,quic-v1"):
        assert (await registry.ask("GET", f"/routing/v1/providers/{DAG.cid}{question}")).json() == {"Providers": []}


def host(served: Served) -> dict[str, object]:
    return {"Host": f"127.0.0.1:{served.port}"}


@pytest_twisted.ensureDeferred
async def test_what_is_not_here(registry: Served) -> None:
    await settled(registry)
    for cid in (UNKNOWN, cid_of(RAW, b""), "bafkqaaa"):
        answer = await registry.ask("GET", f"/routing/v1/providers/{cid}")
        assert (answer.status, answer.json()) == (200, {"Providers": []})
        answer = await registry.ask("GET", f"/routing/v1/providers/{cid}", {"Accept": f"{LINES}, */*;q=0.1"})
        assert (answer.status, answer["content-type"], answer.content) == (200, LINES, b"")
    assert (await registry.ask("GET", "/routing/v1/providers/none")).error == (400, "CID_INVALID")
    assert (await registry.ask("GET", "/routing/v1/peers/none")).error == (404, "UNSUPPORTED")


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("registry.example.org", "/dns/registry.example.org/tcp/80/http"),
        ("Registry.example.org:5000", "/dns/registry.example.org/tcp/5000/http"),
        ("registry.example.org:99999", None),
        ("registry.example.org.evil.example", None),
        ("evil.example:80", None),
        ("localhost:5001", None),
        ("[::1]:5000", None),
        ("192.168.1.2:80", None),
        ("a/../b:1", None),
        ("a:port", None),
        ("", None),
    ],
)
@pytest_twisted.ensureDeferred
async def test_where_it_is(serve: Serve, name: str, address: str | None) -> None:
    """A stranger's Host header is not believed."""
    registry = await serve(registry={"allowed_hosts": "registry.example.org"})
    await registry.push_blob(b"blob")
    answer = await registry.ask("GET", f"/routing/v1/providers/{cid_of(RAW, b'blob')}", {"Host": name})
    assert answer["cache-control"].startswith("private, ")
    (record,) = answer.json()["Providers"]
    assert record["Addrs"] == [address or f"/ip4/127.0.0.1/tcp/{registry.port}/http"]


@pytest_twisted.ensureDeferred
async def test_where_it_is_says_the_configuration(serve: Serve) -> None:
    served = await serve(gateway={"address": "https://registry.example.org"})
    await served.push_blob(b"blob")
    answer = await served.ask("GET", f"/routing/v1/providers/{cid_of(RAW, b'blob')}")
    assert answer["cache-control"].startswith("public, ")
    (record,) = answer.json()["Providers"]
    assert record["Addrs"] == ["/dns/registry.example.org/tcp/443/https"]


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("http://10.1.2.3:5000/", "/ip4/10.1.2.3/tcp/5000/http"),
        ("https://[2001:db8::1]", "/ip6/2001:db8::1/tcp/443/https"),
        ("/dns4/example.org/tcp/443/tls/http", "/dns4/example.org/tcp/443/tls/http"),
        ("/ip4/127.0.0.1/tcp/5000/http", "/ip4/127.0.0.1/tcp/5000/http"),
    ],
)
def test_addresses(given: str, address: str) -> None:
    assert to_multiaddr(given) == address


@pytest.mark.parametrize(
    "given",
    [
        "",
        "example.org",
        "ftp://example.org",
        "https://",
        "https://example.org/path",
        "https://me@example.org",
        "http://a_b",
        "http://example.org:99999",
        "/ip4/127.0.0.1/tcp/5000",
        "/ip4/127.0.0.1/udp/5000/http",
    ],
)
def test_addresses_that_are_none(given: str) -> None:
    with pytest.raises(ValueError):
        to_multiaddr(given)
