"""What a node says of a bucket's state, looked up by other means than the backend's."""

from ipfsreg.bucket.kubo.node.markers import bucket_id
from ipfsreg.ipfs.cid import inline_cid

from .node import KuboNode


def pinned(node: KuboNode) -> set[str]:
    """All that is pinned recursively."""
    return set(node.rpc("pin/ls", type="recursive")[0].get("Keys") or {})


def markers(node: KuboNode, folder: str) -> list[str]:
    """What the markers of a bucket say, the states' first."""
    cids = node.rpc("pin/ls", type="direct")[0].get("Keys") or {}
    prefix = f"ipfsreg {bucket_id(folder)} "
    texts = [node.command("cat", cid) for cid in cids if cid.startswith("bafkqa")]
    return sorted(text.removeprefix(prefix) for text in texts if text.startswith(prefix))


def marker(folder: str, text: str) -> str:
    """The CID of a marker."""
    return str(inline_cid(f"ipfsreg {bucket_id(folder)} {text}".encode()))


def root_of(node: KuboNode, folder: str) -> str:
    """The CID of the state that counts."""
    states = [text.split(" ") for text in markers(node, folder) if not text.startswith("daemon ")]
    return max((int(number), root) for number, root in states)[1]
