"""The peer ID that a daemon keeps."""

import os
from pathlib import Path

import pytest

from ipfsreg.app.peer_id import PeerId, to_peer_id
from ipfsreg.bucket.errors import SetupError


def load(path: Path) -> str:
    peer_id = PeerId(path)
    peer_id.load()
    return peer_id.text


def test_the_peer_id_stays(tmp_path: Path) -> None:
    file = tmp_path / "peer-id"
    made = load(file)
    assert made.startswith("12D3KooW")
    assert load(file) == made
    assert file.read_text() == f"{made}\n"
    assert load(file.with_name("other")) != made
    # As npm's libp2p writes that of this public key.
    assert to_peer_id(bytes(32)) == "12D3KooW9pNAk8aiBuGVQtWRdbkLmo5qVL3e2h5UxbN2Nz9ttwiw"


@pytest.mark.parametrize("content", [b"", b"12D3Koo", b"12D3KooW\xff" + b"a" * 40, b"1" * 1_000_000, b"<script>" * 6])
def test_what_is_no_peer_id_is_not_told_to_clients(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "peer-id"
    file.write_bytes(content)
    with pytest.raises(SetupError, match=r"peer-id holds no peer ID: remove it"):
        load(file)
    assert file.read_bytes() == content


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "peer-id")
    with pytest.raises(SetupError, match="holds no peer ID"):
        load(tmp_path / "peer-id")
