"""What a client of the registry sees of a server's failures: an outage, never an absence, and nothing is lost."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import h11
import pytest
import pytest_twisted
from nacl.signing import SigningKey
from twisted.logger import LogEvent

from ipfsreg.bucket import breaker
from ipfsreg.bucket.cache import small_files
from ipfsreg.bucket.textile.server.identity import Identity
from tests.bucket.running import listening
from tests.full import some
from tests.web.client import Answer, pause, query
from tests.web.served import MANIFEST_TYPE, Served, descriptor, digest_of, image

from .double import Fault, TextileDouble
from .registry import check_no_secrets, logged, served, text_of

pytest_plugins = ["tests.bucket.textile.double.fixtures"]

LAYER = os.urandom(300_000)
BUCKET = "ipfsreg"
BELIEVED = 0.05
"""For how long small files are believed here, in seconds."""


@pytest.fixture(autouse=True)
def _believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small_files, "SHARED_SECONDS", BELIEVED)


@pytest.fixture(autouse=True)
def log() -> Iterator[list[LogEvent]]:
    with logged() as events:
        yield events
    assert "Traceback" not in text_of(events)


_image: dict[str, bytes] = {}


async def files_of_the_image(directory: Path) -> dict[str, bytes]:
    """What a daemon makes of a push of the image ``box:1``, and of one that refers to it; found out once."""
    if not _image:
        async with listening(TextileDouble(hub=False)) as double, served(directory / "first", double, None) as first:
            pushed = await first.push_image("1", layers=[LAYER])
            referring = image(subject=descriptor(pushed, MANIFEST_TYPE))
            assert (await first.push(referring, digest_of(referring))).status == 201
            _image.update((path, double.read(BUCKET, path)) for path in double.files(BUCKET))
    return _image


@pytest_twisted.async_yield_fixture()
async def registry(
    request: pytest.FixtureRequest, textile_hub: TextileDouble, tmp_path: Path, log: list[LogEvent]
) -> AsyncIterator[Served]:
    """A daemon with the image ``box:1``; only the server has its layer. Its parameter is how patient it is."""
    patience = getattr(request, "param", "5s")
    key = textile_hub.accounts.add_key()
    textile_hub.add_bucket(textile_hub.add_thread(key=key), BUCKET)
    textile_hub.put_files(BUCKET, await files_of_the_image(tmp_path))
    async with served(tmp_path / "daemon", textile_hub, key, timeout=patience, silence=patience) as daemon:
        yield daemon
    check_no_secrets(textile_hub, text_of(log))


NOT_THERE = {1, 5, 7}
"""Which questions of `ask_everything` are about what is not there."""


async def ask_everything(registry: Served) -> list[Answer]:
    """Ask for what is there and what is not, to read and to write."""
    manifest = image(layers=[LAYER])
    await pause(2 * BELIEVED)
    questions = [
        ("GET", "/v2/box/manifests/1", None),
        ("HEAD", "/v2/box/manifests/none", None),
        ("GET", f"/v2/box/manifests/{digest_of(manifest)}", None),
        ("HEAD", f"/v2/box/blobs/{digest_of(LAYER)}", None),
        ("GET", f"/v2/box/blobs/{digest_of(LAYER)}", None),
        ("GET", f"/v2/box/blobs/{digest_of(b'none')}", None),
        ("GET", "/v2/box/tags/list", None),
        ("GET", "/v2/none/tags/list", None),
        ("GET", f"/v2/box/referrers/{digest_of(manifest)}", None),
        ("DELETE", "/v2/box/manifests/1", None),
        ("POST", query("/v2/box/blobs/uploads/", digest=digest_of(b"new")), b"new"),
        ("POST", query("/v2/else/blobs/uploads/", mount=digest_of(LAYER), **{"from": "box"}), b""),
    ]
    answers = [await registry.ask(method, target, None, content) for method, target, content in questions]
    headers = {"Content-Type": "application/vnd.oci.image.manifest.v1+json"}
    return [*answers, await registry.ask("PUT", "/v2/box/manifests/2", headers, manifest)]


async def check_whole(registry: Served) -> None:
    """Nothing that was acknowledged is lost, and everything works."""
    answer = await registry.ask("GET", "/v2/box/manifests/1")
    assert (answer.status, answer.content) == (200, image(layers=[LAYER]))
    answer = await registry.ask("GET", f"/v2/box/blobs/{digest_of(LAYER)}")
    assert (answer.status, answer.content) == (200, LAYER)
    await registry.push_image("2", layers=[LAYER, b"another"])


@pytest.mark.parametrize(
    ("code", "text", "said"),
    some(
        2,
        [
            (5, "API key not found or is invalid", "does not know [textile] key"),
            (16, "API key signature required", "needs its [textile] secret"),
            (16, "Bad API key signature", "[textile] secret is not the one"),
            (8, "network egress exhausted: quota reached", "traffic is used up"),
        ],
    ),
)
@pytest_twisted.ensureDeferred
async def test_refused_credentials_and_quotas(
    code: int, text: str, said: str, registry: Served, textile_hub: TextileDouble, log: list[LogEvent]
) -> None:
    textile_hub.faults.add(Fault(code=code, text=text, times=None))
    assert {answer.status for answer in await ask_everything(registry)} == {502}
    assert said in text_of(log)
    textile_hub.faults.clear()
    await check_whole(registry)


@pytest_twisted.ensureDeferred
async def test_a_clock_that_is_wrong_is_named(
    registry: Served, textile_hub: TextileDouble, log: list[LogEvent]
) -> None:
    textile_hub.faults.clock_offset = 7200.0
    answer = await registry.ask("GET", f"/v2/box/blobs/{digest_of(LAYER)}")
    assert answer.status == 502
    assert "clock is 7" in text_of(log)
    textile_hub.faults.clock_offset = 0.0
    await check_whole(registry)


@pytest.mark.parametrize(
    "fault",
    some(
        3,
        [
            Fault(code=5, text="thread not found", times=None),
            Fault(code=2, text="instance not found", times=None),
            Fault(code=2, text="db required", times=None),
            Fault(code=2, text="mongo: connection refused", times=None),
            Fault(code=14, text="transport is closing", times=None),
            Fault(drop_after_sent=5, reset=True, times=None),
            Fault(after_messages=0, times=None),
        ],
    ),
    ids=repr,
)
@pytest.mark.parametrize("asking", some(1, ["after a pause", "each time"]))
@pytest_twisted.ensureDeferred
async def test_outages(
    asking: str, fault: Fault, registry: Served, textile_hub: TextileDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the server counts as away after the first questions, or is really asked each of them."""
    if asking == "each time":
        monkeypatch.setattr(breaker, "_pause", lambda _: 0.0)
    textile_hub.faults.add(fault)
    for number, answer in enumerate(await ask_everything(registry)):
        if fault.after_messages == 0 and number in NOT_THERE and answer.status == 404:
            continue  # a refusal comes without messages, with its status: the server did say that it is not there
        assert answer.status == 503
        assert 1 <= int(answer["retry-after"]) <= 60
    textile_hub.faults.clear()
    await _answers(registry)
    await check_whole(registry)


@pytest.mark.parametrize("registry", ["500ms"], indirect=True)
@pytest_twisted.ensureDeferred
async def test_a_server_that_does_not_answer(registry: Served, textile_hub: TextileDouble) -> None:
    await pause(2 * BELIEVED)
    textile_hub.faults.add(Fault(hang=True, times=None))
    answers = [await registry.ask("GET", "/v2/box/manifests/1") for _ in range(4)]
    assert [answer.status for answer in answers] == [503] * 4
    assert len(textile_hub.calls.running()) <= 1
    textile_hub.faults.clear()
    await _answers(registry)
    await check_whole(registry)


@pytest.mark.parametrize(
    "fault",
    some(
        3,
        [
            Fault("PullPath", truncate=100_000),
            Fault("PullPath", truncate=299_999),
            Fault("PullPath", alter=True),
            Fault("PullPath", after_messages=3),
            Fault("PullPath", after_messages=3, code=2, text="block was not found locally"),
            Fault("PullPath", drop_after_sent=150_000, reset=True),
            Fault("PullPath", drop_after_sent=150_000),
        ],
    ),
    ids=repr,
)
@pytest_twisted.ensureDeferred
async def test_layers_that_break_on_the_way(fault: Fault, registry: Served, textile_hub: TextileDouble) -> None:
    await registry.ask("HEAD", f"/v2/box/blobs/{digest_of(LAYER)}")  # so that all before the layer is known
    textile_hub.faults.add(fault)
    connection = await registry.connect()
    connection.begin("GET", f"/v2/box/blobs/{digest_of(LAYER)}")
    try:
        answer = await connection.answer()
    except (ConnectionError, h11.RemoteProtocolError):
        pass  # it had begun: all that can still say so is a connection cut short
    else:
        # On a slow machine the small files are asked for again, and the fault is theirs, which are fetched once more.
        assert answer.status == 503 or (answer.status, answer.content) == (200, LAYER)
    await check_whole(registry)


@pytest.mark.parametrize("fault", [Fault("PullPath", truncate=20), Fault("PullPath", alter=True)], ids=repr)
@pytest_twisted.ensureDeferred
async def test_manifests_that_break_on_the_way(fault: Fault, registry: Served, textile_hub: TextileDouble) -> None:
    await registry.ask("HEAD", "/v2/box/manifests/none")
    target = f"/v2/box/manifests/{digest_of(image(layers=[LAYER]))}"
    await registry.ask("HEAD", f"/v2/box/blobs/{digest_of(LAYER)}")
    textile_hub.faults.add(Fault("PullPath", nth=2, truncate=fault.truncate, alter=fault.alter))
    answer = await registry.ask("GET", target)
    assert (answer.status, answer.content) == (200, image(layers=[LAYER]))
    assert not [path for path in textile_hub.files(BUCKET) if path.startswith("quarantine/")]
    await check_whole(registry)


@pytest.mark.parametrize(
    ("code", "text", "status"),
    some(
        2,
        [
            (2, "storage quota exhausted", 507),
            (2, "max bucket size exceeded", 507),
            (2, "permission denied", 502),
            (2, "adding file: i/o timeout", 503),
            (None, "", 503),
        ],
    ),
)
@pytest_twisted.ensureDeferred
async def test_a_push_that_is_refused_at_its_end_can_be_made_again(
    code: int | None, text: str, status: int, registry: Served, textile_hub: TextileDouble
) -> None:
    content = os.urandom(400_000)
    location = await registry.begin_upload()
    answer = await registry.ask("PATCH", location, None, content)
    # The server has all of it, has told of it, and then says no, or nothing.
    refusals = [
        textile_hub.faults.add(Fault("PushPath", after_messages=1, code=code, text=text, times=None)),
        # What had been linked of several files would be saved.
        textile_hub.faults.add(Fault("PushPaths", after_messages=0, code=code, text=text, times=None)),
    ]
    target = query(answer["location"], digest=digest_of(content))
    if "?" in answer["location"]:
        target = f"{answer['location']}&digest={digest_of(content)}"
    refused = await registry.ask("PUT", target, {"Content-Length": 0})
    assert refused.status == status
    assert (await registry.ask("HEAD", f"/v2/box/blobs/{digest_of(content)}")).status == 404
    for refusal in refusals:
        textile_hub.faults.remove(refusal)
    assert (await registry.ask("PUT", target, {"Content-Length": 0})).status == 201
    assert (await registry.ask("GET", f"/v2/box/blobs/{digest_of(content)}")).content == content


@pytest_twisted.ensureDeferred
async def test_the_daemon_is_up_before_the_server(
    textile_hub: TextileDouble, tmp_path: Path, log: list[LogEvent]
) -> None:
    key = textile_hub.accounts.add_key()
    await textile_hub.go_away()
    async with served(tmp_path / "daemon", textile_hub, key) as registry:
        assert (await registry.ask("GET", "/v2/")).status == 200
        for answer in (await registry.ask("GET", "/v2/box/manifests/1"), await registry.ask("GET", "/v2/_catalog")):
            assert answer.status == 503
            assert int(answer["retry-after"]) > 0
        textile_hub.come_back()
        await _answers(registry)
        await registry.push_image("1", layers=[LAYER])
    assert len(textile_hub.buckets.all()) == 1
    check_no_secrets(textile_hub, text_of(log))


@pytest_twisted.ensureDeferred
async def test_a_token_and_a_private_buckets_keys_are_not_logged(
    textile_hub: TextileDouble, tmp_path: Path, log: list[LogEvent]
) -> None:
    key = textile_hub.accounts.add_key(for_users=True)
    file = tmp_path / "identity"
    private = Identity.generate()
    file.write_text(private.private_key())
    options = {"identity_file": file, "encrypted": "true"}
    async with served(tmp_path / "daemon", textile_hub, key, **options) as registry:
        await registry.push_image("1", layers=[LAYER])
    async with served(tmp_path / "again", textile_hub, key, **options) as registry:
        textile_hub.faults.refuse("PullPath", 2, "message corrupt or incorrect password")
        assert (await registry.ask("GET", "/v2/box/manifests/1")).status == 503
        textile_hub.faults.clear()
        # The server was set up anew and has another key, so that it knows no token of before.
        textile_hub.accounts.server_key = textile_hub.threads_service._server_key = SigningKey.generate()
        await check_whole(registry)
    assert textile_hub.bucket(BUCKET).private
    assert textile_hub.bucket(BUCKET).owner == private.public_key
    check_no_secrets(textile_hub, text_of(log))
    assert private.private_key() not in text_of(log)


async def _answers(registry: Served) -> None:
    """Wait until the daemon has noticed that the server is back."""
    for _ in range(400):
        if (await registry.ask("GET", "/v2/_catalog")).status == 200:
            return
        await pause(0.05)
    raise AssertionError("the daemon does not notice that the server is back")
