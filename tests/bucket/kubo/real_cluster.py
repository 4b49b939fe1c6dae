"""A real IPFS Cluster for tests: each peer with a real node, on 127.0.0.1 with ports of its own, no strangers."""

import json
import os
import secrets
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.clients.programs import TOOLS, unavailable
from tests.daemon_process import free_port

from .node import KuboNode, connect

PROGRAM = "ipfs-cluster-service"
START_SECONDS = 30.0
AGREE_SECONDS = 20.0

USER, PASSWORD = "registry", "a password of the pinning service"


def require_cluster() -> str:
    """The path of the program; without it the test ends."""
    found = shutil.which(PROGRAM, path=f"{TOOLS / 'bin'}:{os.environ['PATH']}")
    if found is None:
        unavailable(f"{PROGRAM} (IPFS Cluster) is not installed (.ci/install-programs installs it)")
    return found


class ClusterPeer:
    """A peer in a process of its own, beside the node that it uses, which is started and stopped apart from it.

    :param secret: what the peers of one cluster share, 64 hexadecimal digits.
    :param consensus: ``crdt`` or ``raft``.
    :param replication: at how many peers a pin is to be, at least and at most; -1 is all.
    """

    def __init__(
        self,
        directory: Path,
        node: KuboNode,
        secret: str,
        *,
        consensus: str = "crdt",
        replication: tuple[int, int] = (-1, -1),
        batching: tuple[int, str] = (0, "0s"),
    ) -> None:
        self.node = node
        self.log_file = directory / "cluster.log"
        self._program = require_cluster()
        self._directory = directory / "cluster"
        self._ports = {name: free_port() for name in ("swarm", "proxy", "rest", "service")}
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "IPFS_CLUSTER_PATH": str(self._directory),
            "CLUSTER_SECRET": secret,
        }
        self._process: subprocess.Popen[bytes] | None = None
        command = [self._program, "init", "--consensus", consensus]
        subprocess.run(command, env=self._environment, capture_output=True, timeout=60, check=True)
        file = self._directory / "service.json"
        settings = json.loads(file.read_text())
        self._configure(settings, replication, batching)
        file.write_text(json.dumps(settings))
        self.id: str = json.loads((self._directory / "identity.json").read_text())["id"]

    def _configure(self, settings: dict[str, Any], replication: tuple[int, int], batching: tuple[int, str]) -> None:
        tcp = {name: f"/ip4/127.0.0.1/tcp/{port}" for name, port in self._ports.items()}
        node = f"/ip4/127.0.0.1/tcp/{self.node.port}"
        settings["cluster"] |= {
            "listen_multiaddress": [tcp["swarm"]],
            "mdns_interval": "0s",
            "replication_factor_min": replication[0],
            "replication_factor_max": replication[1],
            "enable_relay_hop": False,
            "monitor_ping_interval": "1s",
            "peer_watch_interval": "1s",
        }
        settings["cluster"]["pubsub"]["heartbeat_interval"] = "200ms"
        for informer in settings["informer"].values():  # a peer is given pins when others know of its room
            informer["metric_ttl"] = "5s"
        if crdt := settings["consensus"].get("crdt"):
            crdt["batching"] = {"max_batch_size": batching[0], "max_batch_age": batching[1]}
        settings["api"]["ipfsproxy"] |= {"listen_multiaddress": tcp["proxy"], "node_multiaddress": node}
        settings["api"]["restapi"]["http_listen_multiaddress"] = tcp["rest"]
        settings["api"]["pinsvcapi"] |= {
            "http_listen_multiaddress": tcp["service"],
            "basic_auth_credentials": {USER: PASSWORD},
        }
        settings["ipfs_connector"]["ipfshttp"]["node_multiaddress"] = node
        for store in settings.get("datastore", {}).values():
            if "pebble_options" in store:
                store["pebble_options"] |= {"cache_size_bytes": 4 * 1024**2, "mem_table_size": 1024**2}

    @property
    def proxy(self) -> str:
        """Where the proxy listens."""
        return f"http://127.0.0.1:{self._ports['proxy']}"

    @property
    def service(self) -> str:
        """Where the Pinning Service API is."""
        return f"http://127.0.0.1:{self._ports['service']}"

    @property
    def address(self) -> str:
        """Where other peers find it."""
        return f"/ip4/127.0.0.1/tcp/{self._ports['swarm']}/p2p/{self.id}"

    def start(self, *others: "ClusterPeer") -> "ClusterPeer":
        """Start it, as one of a cluster with others that run, and return when it answers."""
        assert self._process is None
        command = [self._program, "daemon", *(("--bootstrap", ",".join(p.address for p in others)) if others else ())]
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=self._environment
            )
        end = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end:
                self.kill()
                raise RuntimeError(f"the cluster's peer does not start:\n{self.log_file.read_text()}")
            time.sleep(0.02)
        return self

    def _answers(self) -> bool:
        try:
            self.rest("id")
            self.rpc("pin/ls")
        except OSError:
            return False
        return True

    def rest(self, path: str) -> list[Any]:
        """What the cluster's own API answers, as the objects of its lines."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._ports['rest']}/{path}", timeout=30) as answer:
            return [json.loads(line) for line in answer.read().splitlines() if line.strip()]

    def rpc(self, command: str, *arguments: str) -> Any:
        """Call the proxy, and wait; answers the document that came."""
        query = urlencode([("arg", each) for each in arguments])
        request = urllib.request.Request(f"{self.proxy}/api/v0/{command}?{query}", method="POST")
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read())

    def candidates(self) -> set[str]:
        """The peers that it can give pins to."""
        return {each["peer"] for (found,) in [self.rest("monitor/metrics/freespace")] for each in found or ()}

    def pins(self) -> set[str]:
        """All that the cluster is to keep, as this peer knows it."""
        return {each["cid"] for each in self.rest("allocations")}

    def states(self, cid: str) -> dict[str, str]:
        """What each peer that has to do with a pin says of it, by the peer's ID."""
        (found,) = self.rest(f"pins/{cid}")
        return {peer: each["status"] for peer, each in found["peer_map"].items() if each["status"] != "remote"}

    def token(self) -> str:
        """A key for the Pinning Service API."""
        credentials = b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        request = urllib.request.Request(
            f"{self.service}/token", headers={"Authorization": f"Basic {credentials}"}, method="POST"
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return str(json.loads(answer.read())["token"])

    def kill(self) -> None:
        """End it at once (`kill -9`)."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """End it in good order."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
            self._process = None


@contextmanager
def running_cluster(directory: Path, peers: int = 1, **more: Any) -> Iterator[list[ClusterPeer]]:
    """A cluster of so many peers, each with an online node, that knows itself."""
    require_cluster()
    secret, made = secrets.token_hex(32), list[ClusterPeer]()
    with ExitStack() as stack:
        for number in range(peers):
            place = directory / str(number)
            node = KuboNode(place, online=True).start()
            stack.callback(node.stop)
            for other in made:
                connect(other.node, node)
            peer = ClusterPeer(place, node, secret, **more)
            stack.callback(peer.stop)
            peer.start(*made)
            made.append(peer)
        agree(made)
        yield made


def agree(peers: list[ClusterPeer]) -> None:
    """Wait until each of them knows what room all have, so that all can be given pins."""
    end, everybody = time.monotonic() + AGREE_SECONDS, {peer.id for peer in peers}
    while not all(peer.candidates() == everybody == {each["id"] for each in peer.rest("peers")} for peer in peers):
        assert time.monotonic() < end, "the peers of the cluster do not find each other"
        time.sleep(0.05)
