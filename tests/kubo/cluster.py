"""A double of an IPFS Cluster's proxy, in front of a real node.

What it answers itself, and how, is from the fact sheet, section 8; the pins of the cluster are its own.
"""

import json
import secrets
import urllib.error

from .front import Answer, Call, Front, failure
from .node import KuboNode

SERVER = "ipfs-cluster/ipfsproxy/1.1.6"
NOT_KNOWN_TO_ADD = {"only-hash", "nocopy", "inline"}


class ClusterProxy(Front):
    """``pins`` is what the cluster was told to keep. Its peer, the node, pins all of it as a cluster of one does."""

    def __init__(self, node: KuboNode) -> None:
        super().__init__(node)
        self.pins: set[str] = set()
        self.hooks = {
            "pin/add": self._pin,
            "pin/rm": self._unpin,
            "pin/ls": self._list,
            "pin/update": self._update,
            "repo/stat": self._stat,
            "add": self._add,
        }

    def _json(self, document: object) -> Answer:
        return Answer(200, json.dumps(document).encode(), {"Content-Type": "application/json", "Server": SERVER})

    def _pin(self, call: Call) -> Answer:
        cid = call.arguments[0]
        if "/" in cid:
            return failure("invalid CID")
        self.pins.add(cid)
        self.node.rpc("pin/add", cid)
        return self._json({"Pins": [cid]})

    def _unpin(self, call: Call) -> Answer:
        if call.arguments[0] not in self.pins:
            return failure("not pinned or pinned indirectly")
        self.pins.remove(call.arguments[0])
        self.node.rpc("pin/rm", call.arguments[0])
        return self._json({"Pins": call.arguments})

    def _list(self, call: Call) -> Answer:
        found = [cid for cid in self.pins if not call.arguments or cid in call.arguments]
        if call.arguments and not found:
            return failure(f"Error: path '{call.arguments[0]}' is not pinned")
        return self._json({"Keys": {cid: {"Type": "recursive"} for cid in found}})

    def _update(self, call: Call) -> Answer:
        old, new = call.arguments
        if old not in self.pins:
            return failure("Error: pin update: not found")
        self.pins.add(new)
        self.node.rpc("pin/add", new)
        self.pins.discard(old)
        try:
            self.node.rpc("pin/rm", old)
        except urllib.error.HTTPError:
            return failure("the peer's pins and the cluster's differ")
        return self._json({"Pins": [old, new]})

    def _stat(self, call: Call) -> Answer:
        return self._json({"RepoSize": secrets.randbelow(1000), "StorageMax": 10**10})

    def _add(self, call: Call) -> Answer | None:
        if "to-files" in call.options or NOT_KNOWN_TO_ADD & set(call.options):
            return failure("the cluster does not know this", 400)
        call.options.pop("max-file-links", None)
        call.options["max-file-links"] = "174"
        return None
