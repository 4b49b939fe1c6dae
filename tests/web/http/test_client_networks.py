"""Who a client is, for what is bounded for each."""

from typing import cast
from unittest.mock import Mock

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress

from ipfsreg.web.http.forwarded import TrustedProxies
from ipfsreg.web.http.request import Request


@pytest.mark.parametrize(
    ("address", "client"),
    [
        (IPv4Address("TCP", "192.0.2.1", 1), "192.0.2.1"),
        (IPv6Address("TCP", "::ffff:192.0.2.1", 1), "192.0.2.1"),
        (IPv6Address("TCP", "2001:db8:1:2:3::4", 1), "2001:db8:1:2::/64"),
        (IPv6Address("TCP", "2001:db8:1:2:ffff::5", 1), "2001:db8:1:2::/64"),
        (IPv6Address("TCP", "fe80::1%eth0", 1), "fe80::/64"),
        (UNIXAddress(None), ""),
    ],
)
def test_who_a_client_is(address: IAddress, client: str) -> None:
    request = cast(Request, Mock(peer=address, headers={b"x-forwarded-for": b"198.51.100.1"}))
    assert TrustedProxies().network_of(request) == client


def test_who_a_client_is_behind_a_trusted_proxy() -> None:
    address = IPv4Address("TCP", "127.0.0.1", 1)
    request = cast(Request, Mock(peer=address, headers={b"x-forwarded-for": b"1.2.3.4, 2001:db8::5"}))
    assert TrustedProxies(["127.0.0.1"]).network_of(request) == "2001:db8::/64"
