"""An encrypted bucket in the hands of somebody who holds the storage, below a daemon that runs and has clients.

He changes, exchanges and removes whatever he likes, and forges documents of the team. Whatever he does, nobody is
served other bytes than were pushed, nothing fails in an unforeseen way, hangs, grows or fills the log.
"""

import hashlib
import http.client
import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from ipfsreg.bucket.team.key_file import KeyFile
from ipfsreg.encryption.documents import decode_bucket
from ipfsreg.encryption.member_key import MemberKey
from tests.daemon_process import DaemonProcess
from tests.full import FULL, some
from tests.marks import full

from .documents import OCI_IMAGE
from .storage import CHANGES, Documents, Storage

SEED = int(os.environ.get("IPFSREG_HOSTILE_SEED", "1"))
ROUNDS = 4 if FULL else 2
MANY = 10_000 if FULL else 300
REPOSITORIES = ("secret/app", "secret/other", "box")
SIZES = (0, 20, 70_000, 600_000)
COMMANDS = some(2, (["team", "list"], ["keys", "show"], ["ls"], ["gc", "--now"], ["verify"], ["status"]))
DOCUMENT_CHANGES = some(3, sorted(set(CHANGES), key=lambda each: each.__name__))
ANSWERS = {200, 404, 503}
"""What somebody who pulls may be answered: what is gone is like what never was."""

SECONDS = 30
"""How long one answer may take, for a busy machine."""

GROWTH_MAX = 64 * 1024 * 1024
TOLD_MAX = 12
"""How many lines a command may say about what does not count, and why it failed."""

LINES_MAX = 200
"""How many lines one round may add to the log."""

pytestmark = pytest.mark.timeout(1800)


class Client:
    """Pushed some images; pulls them, and knows what each byte of them has to be."""

    def __init__(self, daemon: DaemonProcess) -> None:
        self._daemon = daemon
        chance = random.Random(SEED)
        self._blobs = {repository: [chance.randbytes(size) for size in SIZES] for repository in REPOSITORIES}
        self._manifests = {repository: self._manifest(repository) for repository in REPOSITORIES}

    def _manifest(self, repository: str) -> bytes:
        parts = [
            {"mediaType": "application/octet-stream", "digest": _digest(each), "size": len(each)}
            for each in self._blobs[repository]
        ]
        document = {"schemaVersion": 2, "mediaType": OCI_IMAGE, "config": parts[0], "layers": parts, "subject": None}
        del document["subject"]
        return json.dumps(document).encode()

    def push(self, repository: str) -> int:
        """Push all of an image, whatever is there already; the first status that is not 201."""
        for blob in self._blobs[repository]:
            target = f"/v2/{repository}/blobs/uploads/?digest={_digest(blob)}"
            if (status := self.ask("POST", target, blob)[0]) != 201:
                return status
        return self.ask("PUT", f"/v2/{repository}/manifests/v1", self._manifests[repository], OCI_IMAGE)[0]

    def pull(self) -> Counter[int]:
        """Ask for everything, in all ways; how often each status came. Other bytes than were pushed fail."""
        counted: Counter[int] = Counter()
        for repository in REPOSITORIES:
            manifest = self._manifests[repository]
            wanted = {f"manifests/{reference}": manifest for reference in ("v1", _digest(manifest))}
            wanted |= {f"blobs/{_digest(blob)}": blob for blob in self._blobs[repository]}
            for path, content in wanted.items():
                for method in ("GET", "HEAD"):
                    status, found = self.ask(method, f"/v2/{repository}/{path}")
                    counted[status] += 1
                    if (method, status) == ("GET", 200):
                        assert found in {content, None}, path
            for path in ("tags/list", f"referrers/{_digest(manifest)}"):
                counted[self.ask("GET", f"/v2/{repository}/{path}")[0]] += 1
        counted[self.ask("GET", "/v2/_catalog")[0]] += 1
        return counted

    def ask(self, method: str, target: str, body: bytes | None = None, kind: str = "") -> tuple[int, bytes | None]:
        """One answer; None for one that broke off, which is how what is found while it is sent is told."""
        connection = http.client.HTTPConnection("127.0.0.1", self._daemon.port, timeout=SECONDS)
        try:
            connection.request(method, target, body, {"Content-Type": kind} if kind else {})
            response = connection.getresponse()
            try:
                return response.status, response.read()
            except (http.client.IncompleteRead, ConnectionError):
                return response.status, None
        finally:
            connection.close()


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


class Place:
    """A daemon over an encrypted directory, with images, and what the storage is before it is attacked."""

    def __init__(self, directory: Path) -> None:
        KeyFile(directory / "member.key").save(key := MemberKey.generate())
        self.public = key.public
        self.daemon = DaemonProcess(
            directory,
            {
                "registry": {"cache_memory": "0"},
                "encryption": {"enabled": "yes", "key": f"{directory}/member.key", "refresh": "1s"},
            },
        )

    def fill(self) -> None:
        """Push the images, and remember how everything is."""
        self.client = Client(self.daemon)
        for repository in REPOSITORIES:
            assert self.client.push(repository) == 201
        assert set(self.client.pull()) == {200}
        self.bucket = self.daemon.path / "bucket"
        self.storage = Storage(self.bucket, SEED)
        bucket_id = decode_bucket((self.bucket / "encryption/bucket").read_bytes()).bucket_id
        self.documents = Documents(self.bucket, bucket_id, SEED)
        self._process = psutil.Process(self.daemon.pid)
        self._before = self._process.memory_info().rss, self._process.num_fds()

    def endure(self, attack: Callable[[], None], *, answers: set[int] = ANSWERS) -> Counter[int]:
        """Pull and push while the storage is as an attack left it, then take that back: all is as before."""
        logged = len(self.daemon.log)
        try:
            attack()
            time.sleep(1.2)  # the team is read anew meanwhile
            counted = self.client.pull()
            pushed = {self.client.push(repository) for repository in REPOSITORIES}
            counted += self.client.pull()
            self.commands()
        finally:
            self.storage.restore()
        news = self.daemon.log[logged:]
        assert set(counted) <= answers, (counted, news[-3000:])
        assert pushed <= {201, 404, 503, 507}, (pushed, news[-3000:])
        lines = news.splitlines()
        assert len(lines) < LINES_MAX, news[-3000:]
        assert "Traceback" not in news, news
        assert all(" [" in line for line in lines), news
        assert max(map(len, lines), default=0) < 1000
        self.recovers()
        return counted

    def commands(self) -> None:
        """Each command ends by itself, with lines for people."""
        for arguments in COMMANDS:
            done = self.daemon.command(*arguments)
            assert "Traceback" not in done.stderr + done.stdout, done.stderr
            assert done.returncode in {0, 1, 5}, (arguments, done.returncode, done.stderr)
            assert len(done.stderr.splitlines()) <= TOLD_MAX, (arguments, done.stderr[:3000])
            assert "\x1b" not in done.stdout + done.stderr, (arguments, done.stdout[:3000], done.stderr[:3000])

    def recovers(self) -> None:
        """Wait until everything is served again, and see that nothing has grown."""
        end = time.monotonic() + 60
        while set(counted := self.client.pull()) != {200}:
            assert time.monotonic() < end, (counted, self.daemon.log[-3000:])
            for repository in REPOSITORIES:
                self.client.push(repository)
            time.sleep(0.5)
        memory, descriptors = self._before
        assert self._process.memory_info().rss - memory < GROWTH_MAX
        assert self._process.num_fds() < descriptors + 20
        while True:  # and that it comes to rest
            busy = self._process.cpu_times().user
            time.sleep(0.5)
            if self._process.cpu_times().user - busy < 0.4:
                return
            assert time.monotonic() < end, self.daemon.log[-3000:]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One for all: what a test does is taken back."""
    place = Place(tmp_path_factory.mktemp("held"))
    with place.daemon:
        place.fill()
        yield place


def test_files_that_were_changed(place: Place) -> None:
    counted: Counter[int] = Counter()
    for _ in range(ROUNDS):
        counted += place.endure(place.storage.change_files)
    assert counted[404] + counted[503] > 0


def test_a_damaged_file_that_is_asked_for_without_end(place: Place) -> None:
    """A tag that points nowhere else than to damage: each request is told of, up to a bound."""
    logged = len(place.daemon.log)
    (place.bucket / "encryption/bucket").rename(place.bucket / "encryption/gone")
    before = place.storage.files()
    try:
        for path in before:
            if path.is_file():
                os.truncate(path, 100)
        for _ in range(300):
            assert place.client.ask("GET", f"/v2/{REPOSITORIES[0]}/manifests/v1")[0] in {404, 503}
    finally:
        place.storage.restore()
    assert len(place.daemon.log[logged:].splitlines()) < 60
    place.recovers()


def test_files_that_changed_places(place: Place) -> None:
    place.endure(place.storage.swap)


def test_directories_that_are_something_else(place: Place) -> None:
    for _ in range(ROUNDS):
        place.endure(place.storage.change_directories)


def test_names_that_nobody_made(place: Place) -> None:
    assert set(place.endure(lambda: place.storage.add_names(MANY))) == {200}


def test_directories_too_deep_for_any_path(place: Place) -> None:
    assert set(place.endure(lambda: place.storage.deepen(200))) == {200}


def test_strangers_who_say_that_they_are_owners(place: Place) -> None:
    assert set(place.endure(lambda: place.documents.members(1500 if FULL else 100))) == {200}


@full
def test_more_members_than_a_bucket_may_have(place: Place) -> None:
    place.endure(lambda: place.documents.members(MANY))


def test_records_that_make_no_sense(place: Place) -> None:
    assert set(place.endure(lambda: place.documents.odd_members(300 if FULL else 60))) == {200}


@pytest.mark.parametrize("count", [200, pytest.param(20_001, marks=full)])
def test_generations_that_nobody_began(place: Place, count: int) -> None:
    place.endure(lambda: place.documents.generations(count))


def test_keys_that_a_stranger_sealed(place: Place) -> None:
    place.endure(lambda: place.documents.keys(place.public, 100))


def test_another_founder(place: Place) -> None:
    place.endure(place.documents.bucket)


@pytest.mark.parametrize("change", DOCUMENT_CHANGES)
def test_documents_that_were_changed(place: Place, change: Callable[[random.Random, Path], None]) -> None:
    place.endure(lambda: place.documents.overwrite(change))
