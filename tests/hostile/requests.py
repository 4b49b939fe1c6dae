"""Requests as clients send them, and what a fuzzer makes of them. The same for a seed."""

import random
from collections.abc import Iterator

DIGEST = b"sha256:" + b"0" * 64
REPOSITORY = b"hostile/box"
CID = b"bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"

_TARGETS = (
    b"GET /v2/",
    b"GET /",
    b"GET /v2/_catalog?n=3&last=a",
    b"GET /v2/%b/tags/list?n=2" % REPOSITORY,
    b"GET /v2/%b/manifests/v1" % REPOSITORY,
    b"HEAD /v2/%b/manifests/v1" % REPOSITORY,
    b"GET /v2/%b/manifests/%b" % (REPOSITORY, DIGEST),
    b"GET /v2/%b/blobs/%b" % (REPOSITORY, DIGEST),
    b"HEAD /v2/%b/blobs/%b" % (REPOSITORY, DIGEST),
    b"GET /v2/%b/referrers/%b?artifactType=a/b" % (REPOSITORY, DIGEST),
    b"DELETE /v2/%b/manifests/v2" % REPOSITORY,
    b"DELETE /v2/%b/blobs/%b" % (REPOSITORY, DIGEST),
    b"POST /v2/%b/blobs/uploads/" % REPOSITORY,
    b"POST /v2/%b/blobs/uploads/?mount=%b&from=other" % (REPOSITORY, DIGEST),
    b"POST /v2/%b/blobs/uploads/?digest=%b" % (REPOSITORY, DIGEST),
    b"GET /v2/%b/blobs/uploads/00000000-0000-4000-8000-000000000000" % REPOSITORY,
    b"PATCH /v2/%b/blobs/uploads/00000000-0000-4000-8000-000000000000" % REPOSITORY,
    b"PUT /v2/%b/blobs/uploads/00000000-0000-4000-8000-000000000000?digest=%b" % (REPOSITORY, DIGEST),
    b"PUT /v2/%b/manifests/v9" % REPOSITORY,
    b"GET /v2/ipfs/%b/manifests/latest" % CID,
    b"GET /ipfs/%b?format=car&dag-scope=entity&entity-bytes=0:9" % CID,
    b"HEAD /ipfs/%b?format=raw" % CID,
    b"GET /routing/v1/providers/%b?filter-protocols=x&filter-addrs=!p2p-circuit" % CID,
    b"GET /v2/%b/tags/list?n=1&last=v0" % REPOSITORY,
    b"GET /v2/%b/referrers/%b?artifactType=a/b&last=%b" % (REPOSITORY, DIGEST, DIGEST),
    b"GET /ipfs/%b/index.json?format=car&car-dups=y" % CID,
    b"GET /ipfs/%b" % CID,
    b"GET /v2/ipfs/%b/blobs/%b" % (CID, DIGEST),
    b"GET /v2/ipns/k51qzi5uqu5dlvj2baxnqndepeb86cbk3ng7n3i46uzyxzyqj2xjonzllnv0v8/box/manifests/v1",
    b"GET /v2/ipns/example.test/%b/manifests/v1" % REPOSITORY,
    b"GET /readyz",
    b"GET /livez",
    b"GET /metrics",
    b"GET /events?actions=push,delete&since=1",
    b"HEAD /events",
    b"GET /auth/token?service=ipfsreg&scope=repository:%b:pull,push&scope=registry:catalog:*&offline_token=true"
    % REPOSITORY,
    b"POST /auth/token",
    b"GET /repositories?name=%b" % REPOSITORY,
    b"GET /repositories/%b?q=v&after=v0&order=a&deleted=v2" % REPOSITORY,
    b"GET /repositories/%b:v1" % REPOSITORY,
    b"GET /repositories/%b@%b" % (REPOSITORY, DIGEST),
    b"GET /repositories/%b:v2/delete" % REPOSITORY,
    b"POST /repositories/%b:v2/delete" % REPOSITORY,
    b"GET /?q=h&after=a",
    b"GET /status",
    b"GET /sign-in?then=/status",
    b"POST /sign-in",
    b"POST /sign-out",
    b"GET /assets/style.css?v=1",
)
_HEADERS = (
    b"Accept: application/vnd.oci.image.manifest.v1+json, */*;q=0.5",
    b"Accept: application/vnd.ipld.car; version=1; order=dfs; dups=n",
    b"Content-Type: application/vnd.oci.image.manifest.v1+json; charset=utf-8",
    b"Content-Range: 0-9",
    b"Content-Range: bytes 10-19/*",
    b"Range: bytes=0-3",
    b"Range: bytes=-5,0-0,7-",
    b'If-None-Match: "%b", W/"x"' % DIGEST,
    b'If-Range: "%b"' % DIGEST,
    b"If-Modified-Since: Mon, 30 Nov 2026 00:00:00 GMT",
    b"Expect: 100-continue",
    b"Connection: keep-alive, upgrade",
    b"Upgrade: h2c",
    b"User-Agent: fuzz/1",
    b"Authorization: Basic dTpw",
    b"Transfer-Encoding: chunked",
    b"Content-Length: 10",
    b"Origin: http://elsewhere.test",
    b"Cookie: a=b",
    b"Docker-Upload-UUID: x",
    b"Forwarded: for=127.0.0.1",
    b"X-Forwarded-Proto: https",
    b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    b"Accept: " + b"a/b;q=0.1," * 300,
    b"Content-Type: application/x-www-form-urlencoded",
    b"Cookie: ipfsreg-form=aaaaaaaaaaaaaaaa; ipfsreg-session=bbbbbbbbbbbbbbbb",
    b"Cookie: " + b"ipfsreg-session=;" * 200,
    b"Authorization: Basic cmVhZGVyOmNvcnJlY3QgaG9yc2U=",
    b"Authorization: Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.",
    b"Authorization: Bearer eyJhbGciOiJIUzI1NiIsImtpZCI6Ii4uLy4uL2V0Yy9wYXNzd2QifQ.eyJleHAiOjFlOTk5fQ.AAAA",
    b"Last-Event-ID: 1",
    b"Sec-Fetch-Site: same-origin",
    b"Sec-Fetch-Site: cross-site",
    b"Access-Control-Request-Method: GET",
    b"X-Request-ID: fuzz-1",
    b"TE: trailers",
    b"Trailer: X",
)
_BEFORE = (b"", b"", b"::1, ", b"fe80::1%25eth0,", b"::ffff:")
_BODIES = (
    b"", b"0123456789", b"{}", b"[" * 200, b"5\r\nhello\r\n0\r\n\r\n", b"a" * 2000, b"\0" * 100,
    b"username=reader&password=password&grant_type=password&service=ipfsreg&scope=repository:a:pull&access_type=offline",
    b"grant_type=refresh_token&refresh_token=eyJhbGciOiJIUzI1NiJ9.e30.AAAA&service=ipfsreg",
    b"name=reader&password=password&then=//elsewhere.test/&token=" + b"a" * 64,
    b"&" * 3000, b"a=%" * 900,
)  # fmt: skip
_NASTY = (
    b"\0", b"\r", b"\n", b"\r\n", b"\t", b" ", b"\x7f", b"\x80", b"\xff", b"\xc3\x28", b"%", b"%00", b"%2f",
    b"%2e%2e", b"%ff", b"%zz", b"..", b"//", b"/", b"?", b"#", b"&", b"=", b":", b";", b",", b'"', b"'", b"\\",
    b"{", b"}", b"<", b">", b"-1", b"0", b"+1", b"1e9", b"0x10", b"9" * 30, b"18446744073709551616", b"a" * 300,
    b"../" * 20, b"@", b"*", b"chunked", b"identity", b"bytes=", b"0-0," * 50, b"HTTP/1.0", b"HTTP/9.9",
    "é𐍈".encode(), b"\xed\xa0\x80", b"sha256:", b"sha512:", b"md5:", b"ipfs", b"uploads", b"_catalog",
)  # fmt: skip


def requests(seed: int, count: int) -> Iterator[bytes]:
    """That many requests, each mutated in one to six places; a few stay as they are."""
    chance = random.Random(seed)
    for _ in range(count):
        lines = [chance.choice(_TARGETS) + b" HTTP/1.1", b"Host: 127.0.0.1"]
        # Where that is believed, each comes from somewhere else, so that no one is kept out for what others did.
        lines.append(b"X-Forwarded-For: %b10.0.%d.%d" % (chance.choice(_BEFORE), *chance.randbytes(2)))
        lines += chance.sample(_HEADERS, chance.randrange(5))
        body = chance.choice(_BODIES)
        if body and chance.random() < 0.7:
            lines.append(b"Content-Length: %d" % len(body))
        request = bytearray(b"\r\n".join(lines) + b"\r\n\r\n" + body)
        for _ in range(chance.choice((0, 1, 1, 1, 2, 2, 3, 6))):
            mutate(chance, request)
        yield bytes(request)


def mutate(chance: random.Random, content: bytearray) -> None:
    """Change some bytes in one place: flip, insert, remove, repeat, swap or cut."""
    at = chance.randrange(len(content) + 1)
    match chance.randrange(6):
        case 0 if at < len(content):
            content[at] = chance.randrange(256)
        case 1:
            content[at:at] = chance.choice(_NASTY)
        case 2:
            del content[at : at + chance.choice((1, 1, 2, 5, 30))]
        case 3:
            content[at:at] = content[at : at + chance.choice((1, 4, 20, 100))]
        case 4:
            other = chance.randrange(len(content) + 1)
            content[at:at] = content[other : other + chance.randrange(40)]
        case _:
            if chance.random() < 0.2:
                del content[at:]
            else:
                content[at : at + 1] = chance.choice(_NASTY)
