"""``python -m bench.reliability``: kill registries at any moment, fill their disks, look for what they acknowledged.

Each registry runs on 127.0.0.1 with its data below --dir. Clients push images, move tags and delete, and note each
answer; then the daemon is killed (SIGKILL), started again, and asked for all that it had acknowledged.
"""

import hashlib
import http.client
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

import click

from .disks import failing_disk, small_disk
from .registries import KNOWN, Registry, RegistryError, Running

IMAGE = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
CLIENTS = 4
SIZES = (10, 5_000, 60_000, 400_000)
BROKEN = (OSError, http.client.HTTPException)
BALLAST = 16 * 1024 * 1024


class Refused(Exception):
    """A registry answered otherwise than with success."""


def digest_of(content: bytes) -> str:
    """The digest of content."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def describe(media_type: str, content: bytes) -> dict[str, object]:
    """A descriptor."""
    return {"mediaType": media_type, "digest": digest_of(content), "size": len(content)}


class Client:
    """One connection; what the registry does not answer as it should is `Refused`."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def close(self) -> None:
        """Close it."""
        self._connection.close()

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, str, bytes]:
        """The answer's status, its Location and its content."""
        self._connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        response = self._connection.getresponse()
        return response.status, response.getheader("Location", ""), response.read()

    def expect(self, wanted: int, method: str, path: str, body: bytes | None = None, **headers: str) -> str:
        """As `ask`; answers the Location."""
        status, location, content = self.ask(method, path, body, **headers)
        if status != wanted:
            raise Refused(f"{method} {path}: {status} {content[:100]!r}")
        parts = urlsplit(location)
        return f"{parts.path}?{parts.query}" if parts.query else parts.path

    def push_blob(self, repository: str, blob: bytes) -> None:
        """POST, PATCH, PUT."""
        octets = "application/octet-stream"
        session = self.expect(202, "POST", f"/v2/{repository}/blobs/uploads/")
        session = self.expect(202, "PATCH", session, blob, Content_Type=octets)
        joint = "&" if "?" in session else "?"
        self.expect(201, "PUT", f"{session}{joint}digest={digest_of(blob)}", b"", Content_Type=octets)


@dataclass
class Told:
    """What one client was told: of ``tags``, None stands for one that was deleted."""

    repository: str
    blobs: dict[str, None] = field(default_factory=dict)
    manifests: dict[str, bytes | None] = field(default_factory=dict)
    tags: dict[str, str | None] = field(default_factory=dict)
    open_tags: set[str] = field(default_factory=set)
    """Those of which a change was asked for, and not answered: they may be as before or as after."""
    acknowledged: int = 0


def work(client: Client, random: Random, told: Told) -> None:
    """One image: its blobs, its manifest by a tag; now and then a tag or a manifest is deleted."""
    blobs = [random.randbytes(random.choice(SIZES)) for _ in range(2)]
    for blob in blobs:
        client.push_blob(told.repository, blob)
        told.blobs[digest_of(blob)] = None
        told.acknowledged += 1
    config, layer = blobs
    document = {"schemaVersion": 2, "mediaType": IMAGE, "config": describe(CONFIG, config)}
    manifest = json.dumps({**document, "layers": [describe(LAYER, layer)]}).encode()
    digest, tag = digest_of(manifest), f"t{random.randrange(20)}"
    with changing(told, tag):
        client.expect(201, "PUT", f"/v2/{told.repository}/manifests/{tag}", manifest, Content_Type=IMAGE)
        told.manifests[digest], told.tags[tag] = manifest, digest
        told.acknowledged += 1
    if random.random() < 0.2:
        # By the digest: not every registry deletes a tag alone.
        digest, tag = random.choice([(to, name) for name, to in told.tags.items() if to and told.manifests.get(to)])
        with changing(told, tag):
            del told.manifests[digest]  # until that is answered it may be there or not
            client.expect(202, "DELETE", f"/v2/{told.repository}/manifests/{digest}")
            told.manifests[digest] = told.tags[tag] = None
            told.acknowledged += 1


@contextmanager
def changing(told: Told, *tags: str) -> Iterator[None]:
    """Until the block is left without an exception, nobody knows what the tags are."""
    told.open_tags.update(tags)
    yield
    told.open_tags.difference_update(tags)


def check(port: int, told: Told, found: Counter[str]) -> None:
    """Ask for all that was acknowledged, and compare each byte with its digest."""
    client, root = Client(port), f"/v2/{told.repository}"
    for digest in told.blobs:
        status, _, content = client.ask("GET", f"{root}/blobs/{digest}")
        note(found, "blobs", status, status != 200 or digest_of(content) == digest)
    for digest, manifest in told.manifests.items():
        status, _, content = client.ask("GET", f"{root}/manifests/{digest}", Accept=IMAGE)
        if manifest is None:
            found["deletions undone"] += status == 200
        else:
            note(found, "manifests", status, status != 200 or content == manifest)
    for tag, to in told.tags.items():
        if tag in told.open_tags:
            continue
        status, _, content = client.ask("GET", f"{root}/manifests/{tag}", Accept=IMAGE)
        if to is None:
            found["deletions undone"] += status == 200
        else:
            note(found, "tags", status, status != 200 or digest_of(content) == to)
    client.close()


def note(found: Counter[str], what: str, status: int, is_right: bool) -> None:
    """Count an answer for something that must be there."""
    found["checks"] += 1
    if status != 200:
        found[f"{what} lost"] += 1
    elif not is_right:
        found[f"{what} wrong"] += 1


def until_broken(port: int, random: Random, told: Told, refused: Counter[str]) -> None:
    """Work until the daemon is no more."""
    client = Client(port)
    while True:
        try:
            work(client, random, told)
        except Refused as error:
            refused[status_of(error)] += 1
        except BROKEN:
            return


def kills(registry: Registry, directory: Path, number: int, seconds: float, random: Random) -> Counter[str]:
    """Kill a registry so often, but no longer than so many seconds, at a random moment of the clients' work."""
    found: Counter[str] = Counter()
    clients = [Told(f"app{each}") for each in range(CLIENTS)]
    until = time.monotonic() + seconds
    directory.mkdir()
    while found["kills"] < number and time.monotonic() < until:
        daemon = started(registry, directory, found)
        if daemon is None:
            return found
        refused: Counter[str] = Counter()
        threads = [
            threading.Thread(target=until_broken, args=(daemon.port, Random(random.random()), told, refused))
            for told in clients
        ]
        for thread in threads:
            thread.start()
        time.sleep(random.uniform(0.05, 0.8))
        daemon.kill()
        for thread in threads:
            thread.join()
        found["kills"] += 1
        for status, times in refused.items():
            found[f"answers {status}"] += times
    finish(registry, directory, clients, found)
    return found


def full_disk(registry: Registry, directory: Path, random: Random) -> Counter[str]:
    """Fill a small file system, kill the registry, start it again there, then give it room.

    :raises RegistryError: where none can be mounted.
    """
    found: Counter[str] = Counter()
    directory.mkdir()
    with small_disk(directory):
        ballast = directory / "ballast"
        ballast.write_bytes(bytes(BALLAST))
        told = Told("app")
        daemon = started(registry, directory, found)
        if daemon is None:
            return found
        client, refusals = Client(daemon.port), 0
        while refusals < 20:
            try:
                work(client, random, told)
            except Refused as error:
                refusals += 1
                found[f"answers {status_of(error)}"] += 1
            except BROKEN:
                client, refusals = Client(daemon.port), refusals + 1
                found["connections cut"] += 1
        check(daemon.port, told, found)
        daemon.kill()
        daemon = started(registry, directory, found)
        if daemon is None:
            found["no start on the full disk"] += 1
            ballast.unlink()
        else:
            check(daemon.port, told, found)
            ballast.unlink()
            client = Client(daemon.port)
            try:
                work(client, random, told)
            except (Refused, *BROKEN):
                found["no push though there was room again"] += 1
            daemon.kill()
        finish(registry, directory, [told], found)
    return found


def bad_disk(registry: Registry, directory: Path, seconds: float, random: Random) -> Counter[str]:
    """Let a disk fail one operation in fifty while clients work, then none; ask before and after another start.

    :raises RegistryError: where none can be mounted.
    """
    found: Counter[str] = Counter()
    directory.mkdir()
    rate = directory / "rate"
    rate.write_text("0")
    with failing_disk(directory / "disk", directory / "mounted", rate) as mounted:
        clients = [Told(f"app{each}") for each in range(CLIENTS)]
        daemon = started(registry, mounted, found)
        if daemon is None:
            return found
        refused: Counter[str] = Counter()
        until = time.monotonic() + seconds
        threads = [
            threading.Thread(target=for_a_while, args=(daemon.port, Random(random.random()), told, refused, until))
            for told in clients
        ]
        rate.write_text("0.02")
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        rate.write_text("0")
        for status, times in refused.items():
            found[f"answers {status}"] += times
        try:
            for told in clients:
                check(daemon.port, told, found)
        except BROKEN:
            found["ended by itself"] += 1
        daemon.kill()
        finish(registry, mounted, clients, found)
    return found


def for_a_while(port: int, random: Random, told: Told, refused: Counter[str], until: float) -> None:
    """Work until that moment, whatever fails."""
    client = Client(port)
    while time.monotonic() < until:
        try:
            work(client, random, told)
        except Refused as error:
            refused[status_of(error)] += 1
        except BROKEN:
            refused["cut"] += 1
            client = Client(port)
            time.sleep(0.05)


def status_of(error: Refused) -> str:
    """The status that a registry answered."""
    return str(error).partition(": ")[2][:3]


def started(registry: Registry, directory: Path, found: Counter[str]) -> Running | None:
    """Start a registry; where it does not start any more that is counted."""
    try:
        daemon = Running(registry, directory)
    except RegistryError as error:
        found["starts failed"] += 1
        click.echo(f"{registry.name}: {error}", err=True)
        return None
    found["slowest start, ms"] = max(found["slowest start, ms"], round(1000 * daemon.ready_after))
    return daemon


def finish(registry: Registry, directory: Path, clients: list[Told], found: Counter[str]) -> None:
    """Start it once more, ask for everything, and count what was left behind."""
    daemon = started(registry, directory, found)
    if daemon is None:
        return
    for told in clients:
        check(daemon.port, told, found)
        found["acknowledged"] += told.acknowledged
    daemon.stop()
    if registry.name == "ipfsreg":
        command = [str(Path(sys.executable).with_name("ipfsreg")), "verify", "--config", str(directory / "ipfsreg.ini")]
        verified = subprocess.run(command, capture_output=True, text=True, check=False)
        found["verify finds it whole"] = int("Everything is whole." in verified.stdout)
        if verified.returncode:
            # A command that did not come so far as to read anything says nothing about the data.
            found["verify failed" if "\nRead " in verified.stdout else "commands failed"] += 1
            click.echo(verified.stdout + verified.stderr, err=True)
        found["drafts left"] = len(os.listdir(directory / "data/drafts"))


@click.command()
@click.option("--kills", "number", default=50, show_default=True, help="How often each registry is killed.")
@click.option("--seconds", default=60.0, show_default=True, help="For how long at most.")
@click.option("--registry", "names", multiple=True, type=click.Choice(list(KNOWN)), default=list(KNOWN))
@click.option("--dir", "parent", type=click.Path(path_type=Path, file_okay=False, exists=True), help="For all data.")
@click.option("--seed", type=int, help="Of what is random; it is printed.")
@click.option("--no-disks", is_flag=True, help="Leave out what needs root: a full disk, and one that fails.")
def main(
    number: int, seconds: float, names: tuple[str, ...], parent: Path | None, seed: int | None, no_disks: bool
) -> None:
    """Kill registries and fill their disks, and count what they had acknowledged and do not have (exit status 1)."""
    seed = int.from_bytes(os.urandom(4)) if seed is None else seed
    click.echo(f"seed: {seed}")
    bad = False
    with tempfile.TemporaryDirectory(prefix="ipfsreg-reliability-", dir=parent, ignore_cleanup_errors=True) as top:
        for name in dict.fromkeys(names):
            registry = KNOWN[name]
            version = registry.version()
            click.echo(f"{name}: {version}")
            tried = {"kills": kills(registry, Path(top, f"{name}-kills"), number, seconds, Random(seed))}
            if not no_disks:
                try:
                    tried["full disk"] = full_disk(registry, Path(top, f"{name}-full"), Random(seed))
                    tried["disk that fails"] = bad_disk(registry, Path(top, f"{name}-bad"), seconds / 4, Random(seed))
                except RegistryError as error:
                    click.echo(f"  not tried: {error}")
            for what, found in tried.items():
                click.echo(f"  {what}: " + ", ".join(f"{key} {value}" for key, value in sorted(found.items()) if value))
                lost = [key for key in found if key.endswith((" lost", " wrong", "undone", "failed")) and found[key]]
                bad |= name == "ipfsreg" and bool(lost)
            if (now := registry.version()) != version:
                click.echo(f"  The program was changed meanwhile, so take nothing of this for a result: {now}")
    sys.exit(int(bad))


if __name__ == "__main__":
    main()
