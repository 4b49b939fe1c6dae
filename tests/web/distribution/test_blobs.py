"""Pulling and deleting blobs (distribution-spec, "Pulling blobs", "Deleting Blobs"; RFC 9110 for the conditions)."""

from email.parser import BytesParser
from email.policy import HTTP

import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st

from ipfsreg.registry.errors import RangeInvalid
from ipfsreg.web.ranges import RANGES_MAX, read_ranges
from tests.web.client import Answer, query
from tests.web.served import Served, digest_of

CONTENT = bytes(range(256)) * 40
SIZE = len(CONTENT)
ALGORITHMS = pytest.mark.parametrize("algorithm", ["sha256", "sha512"])


def target(content: bytes = CONTENT, repository: str = "box", algorithm: str = "sha256") -> str:
    return f"/v2/{repository}/blobs/{digest_of(content, algorithm)}"


@ALGORITHMS
@pytest.mark.parametrize("content", [b"", b"x", CONTENT])
@pytest_twisted.ensureDeferred
async def test_a_blob_comes_back_as_it_was_pushed(registry: Served, content: bytes, algorithm: str) -> None:
    digest = await registry.push_blob(content, algorithm=algorithm)
    for method in ("GET", "HEAD"):
        answer = await registry.ask(method, target(content, algorithm=algorithm))
        assert answer.status == 200
        assert answer["docker-content-digest"] == digest
        assert answer["etag"] == f'"{digest}"'
        assert answer["content-length"] == str(len(content))
        assert answer["content-type"] == "application/octet-stream"
        assert answer["accept-ranges"] == "bytes"
        assert answer["docker-distribution-api-version"] == "registry/2.0"
        assert answer["x-content-type-options"] == "nosniff"
        assert answer["server"].startswith("ipfsreg/")
        assert answer.content == (content if method == "GET" else b"")


@pytest_twisted.ensureDeferred
async def test_a_blob_may_be_cached_for_ever_and_is_not_sent_twice(registry: Served) -> None:
    digest = await registry.push_blob(CONTENT)
    for condition in (f'"{digest}"', f'W/"{digest}"', f'"other", "{digest}"', "*"):
        for method in ("GET", "HEAD"):
            answer = await registry.ask(method, target(), {"If-None-Match": condition})
            assert (answer.status, answer.content) == (304, b"")
            assert answer["etag"] == f'"{digest}"'
            assert "immutable" in answer["cache-control"]
            # RFC 9110, 8.6: the length of the 200, or none.
            assert answer.headers.get("content-length") in (None, [str(SIZE)])
    answer = await registry.ask("GET", target(), {"If-None-Match": '"other"'})
    assert (answer.status, answer.content) == (200, CONTENT)


def parts_of(answer: Answer) -> list[tuple[str, str, bytes]]:
    """The parts of a multipart answer: Content-Range, Content-Type and the bytes."""
    media_type, _, boundary = answer["content-type"].partition("; boundary=")
    assert media_type == "multipart/byteranges"
    first, *parts, last = (b"\r\n" + answer.content).split(f"\r\n--{boundary}".encode())
    assert (first, last) == (b"", b"--\r\n")
    found = []
    for part in parts:
        head, _, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        headers = BytesParser(policy=HTTP).parsebytes(head)
        found.append((headers["Content-Range"], headers["Content-Type"], content))
    return found


RANGES = [
    ("bytes=0-0", 0, 0),
    ("bytes=0-99", 0, 99),
    ("bytes=5000-5009", 5000, 5009),
    ("bytes=10000-", 10000, SIZE - 1),
    ("bytes=0-", 0, SIZE - 1),
    ("bytes=-1", SIZE - 1, SIZE - 1),
    ("bytes=-700", SIZE - 700, SIZE - 1),
    (f"bytes=-{SIZE * 3}", 0, SIZE - 1),
    (f"bytes=9-{SIZE * 3}", 9, SIZE - 1),
    ("Bytes=3-4", 3, 4),
    ("bytes= 3-4", 3, 4),
]


@pytest_twisted.ensureDeferred
async def test_a_range_is_sent(registry: Served) -> None:
    await registry.push_blob(CONTENT)
    for value, first, last in RANGES:
        answer = await registry.ask("GET", target(), {"Range": value})
        assert (answer.status, answer["content-range"]) == (206, f"bytes {first}-{last}/{SIZE}")
        assert answer["content-length"] == str(last - first + 1)
        assert answer["etag"] == f'"{digest_of(CONTENT)}"'
        assert answer.content == CONTENT[first : last + 1]


@pytest_twisted.ensureDeferred
async def test_a_range_outside_of_the_blob_is_refused(registry: Served) -> None:
    await registry.push_blob(CONTENT)
    for value in (f"bytes={SIZE}-", f"bytes={SIZE}-{SIZE + 9}", "bytes=-0", "bytes=9-3"):
        answer = await registry.ask("GET", target(), {"Range": value})
        assert (*answer.error, answer["content-range"]) == (416, "RANGE_INVALID", f"bytes */{SIZE}")


@pytest_twisted.ensureDeferred
async def test_an_empty_blob_has_no_range(registry: Served) -> None:
    await registry.push_blob(b"")
    for value in ("bytes=0-", "bytes=-1", "bytes=0-0"):
        answer = await registry.ask("GET", target(b""), {"Range": value})
        assert (*answer.error, answer["content-range"]) == (416, "RANGE_INVALID", "bytes */0")


SEVERAL_RANGES = [
    ("bytes=0-1,5-6", [(0, 2), (5, 7)]),
    ("bytes=0-1,2-3", [(0, 2), (2, 4)]),  # podman counts the parts
    ("bytes=900-999 , 0-9,-1", [(900, 1000), (0, 10), (SIZE - 1, SIZE)]),
    ("bytes=,0-1,, 5-6,", [(0, 2), (5, 7)]),
    ("bytes=50-59,0-9,5-19,60-69,10-11", [(50, 60), (0, 20), (60, 70)]),
    (f"bytes=0-1,{SIZE}-,9-3,7-7", [(0, 2), (7, 8)]),
    ("bytes=" + ",".join(f"{at}-{at}" for at in range(0, 2048, 2)), [(at, at + 1) for at in range(0, 2048, 2)]),
]


@pytest_twisted.ensureDeferred
async def test_several_ranges_are_parts_of_one_answer(registry: Served) -> None:
    """RFC 9110, 14.6 and 15.3.7.2."""
    await registry.push_blob(CONTENT)
    connection = await registry.connect()
    for value, ranges in SEVERAL_RANGES:
        answer = await connection.ask("GET", target(), {"Range": value})
        assert answer.status == 206
        assert "content-range" not in answer
        assert answer["etag"] == f'"{digest_of(CONTENT)}"'
        assert int(answer["content-length"]) == len(answer.content)
        assert parts_of(answer) == [
            (f"bytes {first}-{end - 1}/{SIZE}", "application/octet-stream", CONTENT[first:end]) for first, end in ranges
        ]


@pytest_twisted.ensureDeferred
async def test_several_ranges_of_which_one_counts_are_answered_with_one(registry: Served) -> None:
    """RFC 9110, 15.3.7.1 and 15.5.17: a set is satisfied if one of them can be."""
    await registry.push_blob(CONTENT)
    for value in (f"bytes={SIZE}-,5-6", "bytes=5-6,-0", "bytes=5-5,5-6,6-6", f"bytes=5-6,{SIZE + 1}-{SIZE + 2},"):
        answer = await registry.ask("GET", target(), {"Range": value})
        assert (answer.status, answer["content-range"]) == (206, f"bytes 5-6/{SIZE}")
        assert answer.content == CONTENT[5:7]
    for value in (f"bytes={SIZE}-,{SIZE + 9}-", "bytes=-0,9-3"):
        assert (await registry.ask("GET", target(), {"Range": value})).error == (416, "RANGE_INVALID")


@pytest_twisted.ensureDeferred
async def test_ranges_send_no_more_than_there_is(registry: Served) -> None:
    await registry.push_blob(CONTENT)
    answer = await registry.ask("GET", target(), {"Range": "bytes=" + ",".join(["0-"] * 5000)})
    assert (answer.status, answer.content) == (206, CONTENT)
    too_many = "bytes=" + ",".join(f"{at}-{at}" for at in range(0, 2 * (RANGES_MAX + 1), 2))
    answer = await registry.ask("GET", target(), {"Range": too_many})
    assert (answer.status, answer.content) == (200, CONTENT)


@given(
    st.lists(st.tuples(st.none() | st.integers(0, 40), st.none() | st.integers(0, 40)), min_size=1, max_size=8),
    st.integers(0, 30),
)
def test_every_byte_that_was_asked_for_is_in_one_part(wanted: list[tuple[int | None, int | None]], size: int) -> None:
    text = ",".join(f"{'' if first is None else first}-{'' if last is None else last}" for first, last in wanted)
    asked: set[int] = set()
    for first, last in wanted:
        if first is not None:
            asked |= set(range(first, size if last is None else min(last + 1, size)))
        elif last is not None:
            asked |= set(range(max(size - last, 0), size))
    if (None, None) in wanted:
        assert read_ranges(f"bytes={text}", size) is None
    elif not asked:
        with pytest.raises(RangeInvalid):
            read_ranges(f"bytes={text}", size)
    else:
        ranges = read_ranges(f"bytes={text}", size)
        assert ranges is not None
        numbers = [number for first, end in ranges for number in range(first, end)]
        assert sorted(numbers) == sorted(asked)


NO_RANGES = [
    "bytes=0-1,x",
    "bytes=0-1,-",
    "bytes=,",
    "lines=1-2",
    "bytes = 3-4",
    "bytes=a-b",
    "bytes=",
    "bytes",
    "bytes=--5",
    "bytes=" + "9" * 5000 + "-" + "8" * 5000,
    "bytes=5-" + "9" * 5000,
]


@pytest_twisted.ensureDeferred
async def test_junk_gives_the_whole_blob(registry: Served) -> None:
    """RFC 9110, 14.2 lets a server ignore what it does not serve."""
    await registry.push_blob(CONTENT)
    for value in NO_RANGES:
        answer = await registry.ask("GET", target(), {"Range": value})
        assert (answer.status, answer.content) == (200, CONTENT)
        assert "content-range" not in answer


@pytest_twisted.ensureDeferred
async def test_a_range_counts_only_for_the_content_that_if_range_names(registry: Served) -> None:
    digest = await registry.push_blob(CONTENT)
    same = await registry.ask("GET", target(), {"Range": "bytes=1-2", "If-Range": f'"{digest}"'})
    assert (same.status, same.content) == (206, CONTENT[1:3])
    for value in ("bytes=1-2", "bytes=2-1", f"bytes={SIZE}-"):
        for condition in ('"other"', f'W/"{digest}"', "Wed, 21 Oct 2015 07:28:00 GMT"):
            other = await registry.ask("GET", target(), {"Range": value, "If-Range": condition})
            assert (other.status, other.content) == (200, CONTENT)


@pytest_twisted.ensureDeferred
async def test_a_range_past_all_numbers_cannot_be_satisfied(registry: Served) -> None:
    await registry.push_blob(CONTENT)
    for first in ("9" * 18, "9" * 20, "9" * 99):
        answer = await registry.ask("GET", target(), {"Range": f"bytes={first}-"})
        assert (answer.status, answer["content-range"]) == (416, f"bytes */{SIZE}")


@pytest_twisted.ensureDeferred
async def test_if_none_match_goes_before_a_range(registry: Served) -> None:
    digest = await registry.push_blob(CONTENT)
    answer = await registry.ask("GET", target(), {"Range": "bytes=1-2", "If-None-Match": f'"{digest}"'})
    assert answer.status == 304


@pytest_twisted.ensureDeferred
async def test_head_knows_no_range(registry: Served) -> None:
    await registry.push_blob(CONTENT)
    for value in ("bytes=1-2", f"bytes={SIZE}-", "bytes=2-1"):
        answer = await registry.ask("HEAD", target(), {"Range": value})
        assert (answer.status, answer["content-length"]) == (200, str(SIZE))


@pytest_twisted.ensureDeferred
async def test_a_blob_belongs_to_its_repository(registry: Served) -> None:
    digest = await registry.push_blob(CONTENT, "one")
    for method in ("GET", "HEAD", "DELETE"):
        answer = await registry.ask(method, target(repository="two"))
        assert answer.status == 404
        if method != "HEAD":
            assert answer.error == (404, "BLOB_UNKNOWN")
            assert answer.json()["errors"][0]["detail"] == {"digest": digest}
        assert "etag" not in answer


@pytest_twisted.ensureDeferred
async def test_a_deleted_blob_is_gone_from_its_repository_only(registry: Served) -> None:
    digest = await registry.push_blob(CONTENT, "one")
    await registry.push_blob(CONTENT, "two")
    answer = await registry.ask("DELETE", target(repository="one"))
    assert (answer.status, answer.content, answer["docker-content-digest"]) == (202, b"", digest)
    assert (await registry.ask("GET", target(repository="one"))).error == (404, "BLOB_UNKNOWN")
    assert (await registry.ask("DELETE", target(repository="one"))).error == (404, "BLOB_UNKNOWN")
    assert (await registry.ask("GET", target(repository="two"))).content == CONTENT


@pytest_twisted.ensureDeferred
async def test_what_is_no_digest_is_refused(registry: Served) -> None:
    for digest in (
        "sha256:a",
        "sha256:" + "A" * 64,
        "sha256:" + "0" * 63,
        "md5:" + "0" * 32,
        "sha512:" + "0" * 64,
        "x",
    ):
        assert (await registry.ask("GET", f"/v2/box/blobs/{digest}")).error == (404, "BLOB_UNKNOWN")
        assert (await registry.ask("DELETE", f"/v2/box/blobs/{digest}")).error == (400, "DIGEST_INVALID")


@pytest_twisted.ensureDeferred
async def test_a_range_of_a_long_blob_passes_the_sending_window(registry: Served) -> None:
    """Longer than what `sendfile` sends at a time, with a beginning and an end in the middle of one."""
    content = b"".join(number.to_bytes(4, "big") for number in range(1_000_000))
    await registry.push_blob(content)
    first, last = 1_100_001, 3_999_998
    answer = await registry.ask("GET", target(content), {"Range": f"bytes={first}-{last}"})
    assert answer.status == 206
    assert answer.content == content[first : last + 1]


@pytest_twisted.ensureDeferred
async def test_a_blob_whose_file_has_another_length_is_not_served(registry: Served) -> None:
    digest = await registry.push_blob(CONTENT)
    (file,) = (registry.store / "bucket" / "blobs").rglob(digest.partition(":")[2])
    file.write_bytes(CONTENT[:-1])
    assert (await registry.ask("HEAD", target())).status == 404
    assert (await registry.ask("GET", target())).error == (404, "BLOB_UNKNOWN")
    again = await registry.ask("POST", query("/v2/box/blobs/uploads/", digest=digest), None, CONTENT)
    assert again.status == 201
    assert (await registry.ask("GET", target())).content == CONTENT
