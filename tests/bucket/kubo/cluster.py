"""A double of an IPFS Cluster's proxy, in front of a real node.

What it answers itself, and how, is what IPFS Cluster 1.1.6 was seen to answer (`real_cluster.py` starts one); the pins
of the cluster are its own, and it does at once what a cluster does in its own time.
"""

import json
import secrets
import urllib.error

from .front import Answer, Call, Front, failure
from .node import KuboNode

SERVER = "ipfs-cluster/ipfsproxy/1.1.6"
UNKNOWN = "pin is not part of the pinset"


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
        self.after = self._listed

    def _json(self, document: object) -> Answer:
        return Answer(200, json.dumps(document).encode(), {"Content-Type": "application/json", "Server": SERVER})

    def _failure(self, message: str) -> Answer:
        answer = failure(message)
        answer.headers["Server"] = SERVER
        return answer

    def _pin(self, call: Call) -> Answer:
        cid = call.arguments[0].removeprefix("/ipfs/")
        self.pins.add(cid)
        self.node.rpc("pin/add", cid)
        return self._json({"Pins": [cid]})

    def _unpin(self, call: Call) -> Answer:
        return self._forgotten(call.arguments[0]) or self._json({"Pins": call.arguments})

    def _forgotten(self, cid: str) -> Answer | None:
        if cid not in self.pins:
            return self._failure(UNKNOWN)
        self.pins.remove(cid)
        try:
            self.node.rpc("pin/rm", cid)
        except urllib.error.HTTPError:
            return self._failure("the peer's pins and the cluster's differ")
        return None

    def _list(self, call: Call) -> Answer:
        """It knows no types: direct pins are listed as the others are."""
        found = [cid for cid in self.pins if not call.arguments or cid in call.arguments]
        if call.arguments and not found:
            return self._failure(f"Error: path '{call.arguments[0]}' is not pinned")
        return self._json({"Keys": {cid: {"Type": "recursive"} for cid in found}})

    def _update(self, call: Call) -> Answer:
        old, new = call.arguments
        if old not in self.pins:
            return self._failure(UNKNOWN)
        self.pins.add(new)
        self.node.rpc("pin/add", new)
        failed = self._forgotten(old) if call.options.get("unpin") != "false" else None
        return failed or self._json({"Pins": [old, new]})

    def _stat(self, call: Call) -> Answer:
        return self._json({"RepoSize": secrets.randbelow(1000), "StorageMax": 10**10})

    def _add(self, call: Call) -> Answer | None:
        if call.options.get("only-hash") == "true":
            return self._failure("only-hash is not supported when adding to cluster")
        if call.options.get("nocopy") == "true":
            return Answer(200, b"", {"Server": SERVER})  # why, it says in the trailer
        for unknown in ("to-files", "inline", "only-hash", "nocopy", "offline"):
            call.options.pop(unknown, None)
        call.options["max-file-links"] = "174"
        return None

    def _listed(self, call: Call, body: bytes) -> bytes:
        """Where an ``add`` is not to be streamed, one list of all that was added."""
        if call.command != "add" or call.options.get("stream-channels") != "false":
            return body
        return json.dumps([json.loads(line) for line in body.splitlines()]).encode()
