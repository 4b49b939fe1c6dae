"""Who a client is behind proxies."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipfsreg.web.http.forwarded import TrustedProxies


@pytest.mark.parametrize(
    ("trusted", "peer", "forwarded", "client"),
    [
        ((), "10.0.0.1", "192.0.2.1", "10.0.0.1"),
        (("10.0.0.1",), "10.0.0.1", None, "10.0.0.1"),
        (("10.0.0.1",), "10.0.0.1", "192.0.2.1", "192.0.2.1"),
        (("10.0.0.1",), "10.0.0.2", "192.0.2.1", "10.0.0.2"),
        (("10.0.0.0/8",), "10.0.0.1", "203.0.113.9, 192.0.2.1,10.2.3.4", "192.0.2.1"),
        (("10.0.0.0/8",), "10.0.0.1", "10.2.3.4", "10.2.3.4"),
        (("10.0.0.1",), "::ffff:10.0.0.1", "2001:db8::1", "2001:db8::1"),
        (("::1",), "::1", "[2001:db8::1]", "2001:db8::1"),
        (("unix",), None, "192.0.2.1", "192.0.2.1"),
        ((), None, "192.0.2.1", "-"),
        (("10.0.0.1",), "10.0.0.1", "192.0.2.1, nonsense", "10.0.0.1"),
        (("10.0.0.1",), "10.0.0.1", "", "10.0.0.1"),
    ],
)
def test_the_last_one_that_is_not_trusted(
    trusted: tuple[str, ...], peer: str | None, forwarded: str | None, client: str
) -> None:
    assert TrustedProxies(trusted).client(peer, forwarded) == client


@given(st.text())
def test_nothing_that_is_forwarded_is_a_surprise(forwarded: str) -> None:
    assert TrustedProxies(["10.0.0.1", "unix"]).client("10.0.0.1", forwarded)
    assert TrustedProxies(["10.0.0.1", "unix"]).client(None, forwarded)
