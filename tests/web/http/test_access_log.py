"""Whatever a client sends, its line in the access log is one line of ASCII, with the fields where they belong."""

import re
from types import SimpleNamespace
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from ipfsreg.web.http.access_log import AccessLog
from ipfsreg.web.http.forwarded import TrustedProxies
from ipfsreg.web.http.request_id import request_id

QUOTED = r'"(?:[^"\\]|\\x[0-9a-f]{2,6})*"'
LINE = re.compile(rf"\S+ - \S+ \[[^]]+\] {QUOTED} \d+ \d+ {QUOTED} {QUOTED} \d+ \d+\.\d{{3}} [A-Za-z0-9._-]+")


@given(
    st.binary(max_size=60).filter(lambda target: not re.search(rb"[\x00-\x20\x7f]", target)),
    st.text(st.characters(max_codepoint=255), max_size=40),
    st.text(max_size=20),
    st.binary(max_size=70),
)
def test_a_line_is_a_line(target: bytes, header: str, label: str, name: bytes) -> None:
    lines: list[str] = []
    request = SimpleNamespace(
        peer=SimpleNamespace(host="127.0.0.1"),
        user=SimpleNamespace(label=label),
        method=b"GET",
        is_1_1=True,
        uri=b"/" + target,
        code=200,
        sent_length=1,
        header=lambda _: header,
        headers={},
        body=SimpleNamespace(received=2),
        began=0.0,
        identifier=request_id(name),
    )
    AccessLog(TrustedProxies(), {"digest"}, lines.append).answered(cast(Any, request))
    (line,) = lines
    assert line.isascii()
    assert line.isprintable()
    assert LINE.fullmatch(line), line
    _, found, query = target.partition(b"?")
    if found and query and b"digest" not in query:
        assert "=" not in line.split('"')[1].replace("=***", "")


@given(st.binary(max_size=80))
def test_a_name_is_short_and_plain(sent: bytes) -> None:
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", request_id(sent))
