"""What a request is for the programs that are given one."""

from typing import cast

from twisted.internet.interfaces import IConsumer
from twisted.web.iweb import IRequest
from zope.interface.verify import verifyObject

from ipfsreg.web.http.head import Fields, Head
from ipfsreg.web.http.request import Request, RequestChannel


def test_a_request_is_a_consumer_and_claims_no_more() -> None:
    head = Head(b"GET", b"/", Fields(is_1_1=True, headers={}))
    request = Request(cast(RequestChannel, None), head)
    assert verifyObject(IConsumer, request)
    assert not IRequest.providedBy(request)
