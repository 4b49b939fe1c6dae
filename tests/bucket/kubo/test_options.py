"""The ``[kubo]`` section: what it may say, and where the node is looked for."""

import base64
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from twisted.internet import reactor
from twisted.internet.task import Clock

from ipfsreg.app.configuration import load_config
from ipfsreg.bucket.kubo.errors import ContentLost, Exists, Missing, NotPinned, node_error, refusal
from ipfsreg.bucket.kubo.options import KuboOptions
from ipfsreg.bucket.kubo.rpc.address import DEFAULT, Address, find_address, parse_address, remembered
from ipfsreg.config.errors import ConfigError
from ipfsreg.ipfs.cid import inline_cid
from tests.docs.documents import block

from .node import KuboNode

HOSTS = st.one_of(
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str),
    st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=20).map(lambda name: f"{name}.example"),
)


@given(HOSTS, st.integers(1, 65535), st.sampled_from(["", "/http", "/https", "/tls/http"]))
def test_a_multiaddr_and_its_url_are_one(host: str, port: int, rest: str) -> None:
    kind = "ip6" if ":" in host else "ip4" if host[0].isdigit() and host.replace(".", "").isdigit() else "dns4"
    found = parse_address(f"/{kind}/{host}/tcp/{port}{rest}")
    scheme = "https" if rest in {"/https", "/tls/http"} else "http"
    assert found == Address(f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}")
    assert parse_address(found.url) == found


@given(st.text())
def test_any_text_is_an_address_or_a_value_error(text: str) -> None:
    try:
        found = parse_address(text)
    except ValueError:
        return
    assert found.url.startswith("http")


@pytest.mark.parametrize(
    "text",
    ["", "5001", "127.0.0.1:5001", "ftp://x", "http://", "http://a:b@c", "http://a/path", "http://a?x", "/ip4/1.2.3.4",
     "/ip4/1.2.3.4/udp/1", "http://a:99999", "/ip4/1.2.3.4/tcp/99999"],
)  # fmt: skip
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="a URL such as"):
        parse_address(text)


def test_a_unix_socket() -> None:
    found = parse_address("/unix/run/ipfs/api.sock")
    assert (found.socket, found.is_private, str(found)) == ("/run/ipfs/api.sock", True, "/unix/run/ipfs/api.sock")


def test_an_address_is_not_looked_up_for_each_call() -> None:
    clock, asked = Clock(), []

    def look_up() -> Address:
        asked.append(clock.seconds())
        return Address(f"http://127.0.0.1:{len(asked)}")

    address = remembered(look_up, clock.seconds)
    assert {address() for _ in range(5)} == {Address("http://127.0.0.1:1")}
    clock.advance(1.5)
    assert address() == address() == Address("http://127.0.0.1:2")
    assert asked == [0.0, 1.5]


def test_the_node_is_found_where_it_says(node: KuboNode, tmp_path: Path) -> None:
    assert find_address({"IPFS_PATH": str(node.repository)}).url == node.url
    assert find_address({"IPFS_PATH": str(tmp_path)}) == parse_address(DEFAULT)
    (tmp_path / "api").write_text("nonsense")
    assert find_address({"IPFS_PATH": str(tmp_path)}) == parse_address(DEFAULT)


@pytest.mark.parametrize(
    ("secret", "header"),
    [
        ("bearer:abc", b"Bearer abc"),
        ("abc", b"Bearer abc"),
        ("basic:user:pass:word", b"Basic " + base64.b64encode(b"user:pass:word")),
        ("basic:dXNlcg==", b"Basic dXNlcg=="),
    ],
)
def test_the_header_is_the_nodes_own(secret: str, header: bytes) -> None:
    options = KuboOptions.model_validate({"authorization": secret})
    assert options.header() == header
    assert secret not in repr(options)


@pytest.mark.parametrize(
    "options",
    [
        {"path": "ipfsreg"},
        {"path": "/"},
        {"path": "/a/../b"},
        {"chunker": "rabin"},
        {"chunker": "size-0"},
        {"chunker": "size-3000000"},
        {"max_file_links": "1"},
        {"api": "localhost"},
        {"authorization": "other:thing"},
        {"authorization_file": "/nowhere"},
        {"cluster": "perhaps"},
        {"connections": "1"},
        {"timeout": "0s"},
    ],
)
def test_what_is_refused(options: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        KuboOptions.model_validate(options)


def test_a_secret_over_the_network_is_warned_of() -> None:
    for api, warnings in (("http://127.0.0.1:5001", 0), ("https://node.example", 0), ("http://node.example", 1)):
        options = KuboOptions.model_validate({"api": api, "authorization": "bearer:hidden"})
        assert len(options.warnings()) == warnings
        assert "hidden" not in "".join(options.warnings())
    assert KuboOptions.model_validate({"api": "http://node.example"}).warnings() == []


def test_a_wrong_secret_is_not_quoted(tmp_path: Path) -> None:
    (tmp_path / "i.ini").write_text("[registry]\nbackend = kubo\n[kubo]\nauthorization = other:hidden\n")
    with pytest.raises(ConfigError) as error:
        load_config(tmp_path / "i.ini", reactor, {})
    assert "authorization" in str(error.value)
    assert "hidden" not in str(error.value)


def test_what_a_node_says() -> None:
    """Only the text tells (docs/protocols/kubo.md, "Errors"): real answers of Kubo 0.42."""
    for text, meaning in (
        ('no link named "x" under bafy', "NotFound"),
        ("/a/b: file does not exist", "NotFound"),
        ("block was not found locally (offline): ipld: could not find bafk", "Missing"),
        ("cp: cannot put node in path /reg: directory already has entry by that name", "Exists"),
        ("not pinned or pinned indirectly", "NotPinned"),
        ("'from' cid was not recursively pinned already", "NotPinned"),
        ("'to' cid was already recursively pinned", "AlreadyPinned"),
        ("write /blocks/x: no space left on device", "Full"),
        ("context deadline exceeded", "GaveUp"),
        ("anything else", "Unavailable"),
    ):
        assert type(node_error("x", text)).__name__ == meaning, text
    assert type(refusal("x", 403, b"Kubo RPC Access Denied")).__name__ == "Refused"
    assert type(refusal("x", 502, b"<html>")).__name__ == "Unreachable"
    assert type(refusal("x", 500, b'{"Message":"file does not exist","Code":0,"Type":"error"}')).__name__ == "NotFound"
    assert issubclass(ContentLost, Missing)
    assert not issubclass(Exists, NotPinned)


def test_an_inline_cid_needs_no_block(node: KuboNode) -> None:
    assert node.command("cat", str(inline_cid(b"ipfsreg 1234\n"))) == "ipfsreg 1234\n"


def test_the_command_of_the_document(node: KuboNode) -> None:
    shown = block("docs/kubo.md", "The `kubo` backend", "sh")
    words = shown.split()
    assert words[0] == "ipfs"
    node.rpc("files/mkdir", words[-1], parents=True)
    assert node.command(*words[1:]) == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"follow": "k51abc"}, "/ipns/ and a key or domain"),
        ({"follow": "/ipns/"}, "/ipns/ and a key or domain"),
        ({"follow": "/ipns/x/../y"}, "/ipns/ and a key or domain"),
        ({"publish_key": "a b"}, "a key of the node"),
        ({"publish_key": "a/b"}, "a key of the node"),
        ({"follow": "/ipns/x", "publish_key": "y"}, "a mirror publishes nothing"),
        ({"follow": "/ipns/x", "cluster": "yes"}, "a node's own api"),
        ({"follow": "/ipns/x", "index": "http://127.0.0.1:1"}, "a node's own api"),
    ],
)
def test_what_cannot_be_followed_or_published(options: dict[str, str], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        KuboOptions.model_validate(options)


@pytest.mark.parametrize("name", ["/ipns/k51abc", "/ipns/registry.example.org", "/ipfs/bafyabc", "/ipns/x.example/a/b"])
def test_what_can_be_followed(name: str) -> None:
    assert KuboOptions.model_validate({"follow": name}).follow == name


def test_what_is_private_is_not_published(tmp_path: Path) -> None:
    lines = "[registry]\nbackend = kubo\n[kubo]\npublish_key = mirror\n[gateway]\nprivate = secret\n"
    (tmp_path / "i.ini").write_text(lines)
    with pytest.raises(ConfigError, match=r"\[kubo\] publish_key: it makes everything public"):
        load_config(tmp_path / "i.ini", reactor, {})
    (tmp_path / "i.ini").write_text(lines.replace("private = secret", "private ="))
    assert load_config(tmp_path / "i.ini", reactor, {}).backend.publishes == "publish_key"


def test_what_rules_keep_from_somebody_is_published_only_where_that_is_said(tmp_path: Path) -> None:
    file = tmp_path / "i.ini"
    lines = "[registry]\nbackend = kubo\n[kubo]\npublish_key = mirror\n[access]\nrules = allow anyone pull\n"
    file.write_text(lines)
    with pytest.raises(ConfigError, match=r"everything public, .*; publish_past_rules = yes if that is meant"):
        load_config(file, reactor, {})
    file.write_text(lines.replace("mirror", "mirror\npublish_past_rules = yes"))
    assert load_config(file, reactor, {}).backend.publishes == "publish_key"
    file.write_text(f"{lines}[encryption]\nenabled = yes\n")
    assert load_config(file, reactor, {}).backend.publishes == "publish_key"
    file.write_text(f"{lines}[encryption]\nenabled = yes\nconvert = encrypt\n")  # some of it is still to be
    with pytest.raises(ConfigError, match="it makes everything public"):
        load_config(file, reactor, {})
