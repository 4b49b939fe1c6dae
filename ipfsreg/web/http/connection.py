"""A client's connection: one request after the other, whatever it sends, and however slowly."""

from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol, cast

from twisted.internet import protocol
from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHalfCloseableProtocol,
    IProducer,
    IPushProducer,
    ISSLTransport,
)
from twisted.internet.main import CONNECTION_DONE
from twisted.python.failure import Failure
from zope.interface import implementer

from .body import OVER, WANTED, ClientGone, ClientTooSlow, State
from .deadline import Deadline
from .framing import BadChunk, Chunked, Sized
from .head import END, BadRequest, check_beginning, parse_head
from .outlet import IWire, SocketOutlet, TlsOutlet
from .request import DRAIN_MAX, Answer, Request
