"""A kill, or a disk that fails, at any system call: what is left is whole, and no rubbish stays.

A kill is simulated: the call with a certain number that would change something on the disk fails, and so does each one
after it, whatever the code would do to tidy up. Then a new registry is opened on what is there. What a loss of power
does to the page cache is not in it.
"""

import errno
import io
import os
import shutil
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from threading import Lock
from typing import Any

import pytest
import pytest_twisted

from ipfsreg.bucket.errors import BucketError, SetupError
from ipfsreg.flow.gather import gather
from ipfsreg.registry import layout
from ipfsreg.registry.digest import digest_of
from ipfsreg.registry.errors import RegistryError
from ipfsreg.registry.names import Repository, Tag
from tests.full import FULL
from tests.marks import full

from .encrypted_place import EncryptedKuboPlace, EncryptedPlace
from .place import Place, image

Work = Callable[[Place], Awaitable[None]]

APP, OTHER = Repository("app"), Repository("team/app")
CONFIG, LAYER, LARGE = b"config", b"layer", Random(1).randbytes(1024 * 1024 + 1)
IMAGE, BIG = image(CONFIG, LAYER), image(CONFIG, LARGE)
SIGNATURE = image(CONFIG, subject=IMAGE)

CHANGING = (
    "mkdir",
    "rename",
    "replace",
    "unlink",
    "rmdir",
    "ftruncate",
    "fsync",
    "fdatasync",
    "writev",
    "pwrite",
    "pwritev",
    "fchmod",
)
OWN = {"bucket", "drafts", "uploads", "moved", "cids.sqlite", "cids.sqlite-wal", "cids.sqlite-shm"}
OWN |= {"node", "kubo.json"}


class Killed(BaseException):
    """The process is no more."""


class Calls:
    """Those calls that change something on the disk; ``error`` says of the number of each how it fails, if it does."""

    def __init__(self, error: Callable[[int], BaseException | None]) -> None:
        self._error = error
        self._lock = Lock()
        self.made: list[str] = []

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Within the block they are counted, and fail. Nothing is synced: no test here loses power."""
        with pytest.MonkeyPatch.context() as patch:
            for name in CHANGING:
                patch.setattr(os, name, self._counting(name, getattr(os, name)))
            patch.setattr(os, "open", self._opening(os.open, lambda flags: flags & os.O_CREAT))
            patch.setattr(io, "open", self._opening(io.open, lambda mode: set(mode) & set("wax+")))
            yield

    def step(self, call: str) -> None:
        """One call, which may fail."""
        with self._lock:
            self.made.append(call)
            error = self._error(len(self.made))
        if error is not None:
            raise error

    def _counting(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(first: Any, *args: Any, **kwargs: Any) -> Any:
            self.step(f"{name} {first}")
            return None if "sync" in name else real(first, *args, **kwargs)

        return call

    def _opening(self, real: Callable[..., Any], changes: Callable[[Any], object]) -> Callable[..., Any]:
        def call(path: Any, how: Any = "r", *args: Any, **kwargs: Any) -> Any:
            if changes(how):
                self.step(f"open {path}")
            return real(path, how, *args, **kwargs)

        return call


async def begin(place: Place) -> None:
    """A directory in which nothing was."""


async def images(place: Place) -> None:
    await place.push_image(APP, ["one", "two"], CONFIG, LAYER)
    await place.push_image(APP, [], CONFIG, subject=IMAGE)
    await place.push_image(OTHER, ["big"], CONFIG, LARGE)


async def push(place: Place) -> None:
    await place.push_image(APP, ["one"], CONFIG, LARGE)


async def push_referrer(place: Place) -> None:
    await place.push_image(APP, ["signed"], CONFIG, b"another signature", subject=IMAGE)


async def push_again(place: Place) -> None:
    await place.push_image(APP, ["one"], CONFIG, LAYER)


async def move_tag(place: Place) -> None:
    await place.push_image(APP, ["one"], CONFIG, b"moved")


async def delete_manifest(place: Place) -> None:
    await place.registry.manifests.delete(APP, digest_of(IMAGE))


async def delete_referrer(place: Place) -> None:
    await place.registry.manifests.delete(APP, digest_of(SIGNATURE))


async def delete_tags(place: Place) -> None:
    for tag in ("one", "two"):
        await place.registry.manifests.delete_tag(APP, Tag(tag))


async def delete_blob(place: Place) -> None:
    await place.registry.manifests.delete(OTHER, digest_of(BIG))
    await place.registry.blobs.delete(OTHER, digest_of(LARGE))


async def mount(place: Place) -> None:
    await place.registry.blobs.mount(APP, digest_of(LARGE), OTHER)


async def collect(place: Place) -> None:
    await delete_tags(place)
    await place.registry.manifests.delete(OTHER, digest_of(BIG))
    await place.registry.collector.run(grace=0, untagged=0)


async def upload_and_cancel(place: Place) -> None:
    upload = await place.registry.uploads.begin(APP)
    await place.append(upload, b"half")
    await place.append(upload, b"whole")
    await upload.cancel()


async def several(place: Place) -> None:
    """By clients at the same time."""
    await gather(lambda work: work(place), [push_referrer, move_tag, mount, delete_blob])


async def damaged(place: Place) -> None:
    await images(place)
    place.content_file(LARGE).write_bytes(LARGE[:-1])
    place.content_file(LAYER).write_bytes(b"other")
    (place.files / layout.blob_link(APP, digest_of(CONFIG))).write_bytes(b"7\n")


async def heal(place: Place) -> None:
    """Damaged content goes into quarantine, a link is written anew, and the content is pushed again."""
    await place.registry.verifier.verify()
    await place.push_image(OTHER, ["big"], CONFIG, LARGE)
    await place.push_image(APP, ["one", "two"], CONFIG, LAYER)


KINDS: dict[str, Callable[[int, int], BaseException | None]] = {
    "a kill": lambda at, number: Killed() if at >= number else None,
    "a disk that fails once": lambda at, number: OSError(errno.EIO, "it fails") if at == number else None,
    "a full disk": lambda at, number: OSError(errno.ENOSPC, "it is full") if at >= number else None,
}
"""What befalls a call, by its number and that of the first one that something befalls."""

ON_IMAGES = [
    *(push_referrer, push_again, move_tag, delete_manifest, delete_referrer, delete_tags, delete_blob, mount, collect),
    *(upload_and_cancel, several),
]


ON_ENCRYPTED = [move_tag, collect, upload_and_cancel]


@pytest.mark.parametrize(
    ("kind", "before", "do", "after"),
    [
        (Place, begin, push, begin),
        *((Place, images, do, begin) for do in ON_IMAGES),
        (Place, damaged, heal, heal),
        (EncryptedPlace, begin, push, begin),
        *(pytest.param(EncryptedPlace, images, do, begin, marks=full) for do in ON_ENCRYPTED),
        (EncryptedKuboPlace, begin, push, begin),
        (EncryptedKuboPlace, images, collect, begin),
        *(pytest.param(EncryptedKuboPlace, images, do, begin, marks=full) for do in (move_tag, upload_and_cancel)),
    ],
    ids=[
        *("push", *(do.__name__ for do in ON_IMAGES), "heal"),
        *("encrypted push", *(f"encrypted {do.__name__}" for do in ON_ENCRYPTED)),
        *(f"{do}, encrypted on a node" for do in ("push", "collect", "move_tag", "upload_and_cancel")),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_a_crash_leaves_is_whole_and_no_rubbish(
    tmp_path: Path, kind: type[Place], before: Work, do: Work, after: Work
) -> None:
    """With ``IPFSREG_FULL_TESTS`` it is killed at each of its calls, else at some of them."""
    base = tmp_path / "base"
    base.mkdir()
    if before is not begin:
        place = await kind(base).start()
        await before(place)
        await place.stop()

    async def attempt(name: str, error: Callable[[int], BaseException | None]) -> tuple[list[str], Sequence[str]]:
        directory = tmp_path / name
        shutil.copytree(base, directory)
        calls = Calls(error)
        problems = await crash_and_look(kind(directory), calls, do, after)
        shutil.rmtree(directory)
        return problems, calls.made

    problems, made = await attempt("undisturbed", lambda at: None)
    assert problems == []
    assert len(made) > 2
    for what in some_kinds():
        befalls = KINDS[what]
        for number in numbers(len(made), what):
            found, made_then = await attempt(f"{number}", lambda at, n=number, of=befalls: of(at, n))  # type: ignore[misc]
            problems += [f"{what} at {number}, {made_then[number - 1 : number]}: {each}" for each in found]
    assert problems == []


def some_kinds() -> Sequence[str]:
    """What befalls them: all of it, or a kill and something else."""
    kill, *others = KINDS
    return list(KINDS) if FULL else [kill, Random().choice(others)]


def numbers(calls: int, kind: str) -> Sequence[int]:
    """Which calls are tried."""
    every = range(1, calls + 1)
    if kind == "a kill":
        return every if FULL else Random().sample(every, min(2, calls))
    return Random().sample(every, min(10 if FULL else 1, calls))


async def crash_and_look(place: Place, calls: Calls, do: Work, after: Work) -> list[str]:
    """Do something until it fails, begin anew, and answer what is not as it should be."""
    place.step = calls.step
    with calls.counted():
        with suppress(Killed, BucketError, RegistryError, SetupError, OSError):
            await place.start()
            await do(place)
        with suppress(Killed, OSError, AttributeError):  # it may not have come so far as to have a registry
            await place.registry.stop()
    place.end()
    place = await type(place)(place.directory).start()
    try:
        await after(place)
        problems = await not_whole(place)
        for _ in range(2):
            collection = await place.registry.collector.run(grace=0, untagged=0)
            problems += [f"nothing is collected from {each}" for each in collection.skipped]
        problems += ["the collector left something"] if collection.contents or collection.blob_links else []
        problems += [f"after the collector: {each}" for each in await not_whole(place)]
        problems += await tags_left(place)
        await place.settle()
        return problems + rubbish(place)
    finally:
        await place.stop()


async def tags_left(place: Place) -> list[str]:
    """The tags that stay when every manifest is deleted: what points to one is known after a crash as well."""
    left = []
    for repository in (APP, OTHER):
        for digest in [each async for each in layout.manifest_records(place.bucket, repository)]:
            await place.registry.manifests.delete(repository, digest)
        left += [f"{repository}:{entry.name}" for entry in await place.bucket.list(layout.tags_of(repository))]
    return [f"left though its manifest was deleted: {each}" for each in left]


async def not_whole(place: Place) -> list[str]:
    report = await place.registry.verifier.verify()
    wrong = [*report.damaged, *report.missing, *report.unreadable, *report.mended, *report.strays]
    return wrong if report.stopped_by is None else [*wrong, report.stopped_by]


def rubbish(place: Place) -> list[str]:
    """What nobody needs: drafts, directories without files, sessions that cannot go on, files of nobody."""
    left = [each for each in place.directory.iterdir() if each.name not in OWN]
    if (drafts := place.directory / "drafts").exists():
        left += drafts.iterdir()
    left += [each for each in place.files.rglob("*") if each.is_dir() and not any(each.iterdir())]
    whole = [{"data", "session.json"}, {"data.sealed", "session.json"}]
    left += [each for each in place.sessions() if {file.name for file in each.iterdir()} not in whole]
    return [f"left: {each.relative_to(place.directory)}" for each in left]
