"""Calls to a double, by `tests.grpcweb_double.peer`, for its own tests."""

from typing import Any

from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from ipfsreg.bucket.space.proto import space_pb2
from tests.grpcweb_double.peer import Answer, post
from tests.grpcweb_double.wire import frame

from .server import SpaceDouble

SERVICE = space_pb2.DESCRIPTOR.services_by_name["SpaceApi"]


async def ask(double: SpaceDouble, method: str, metadata: dict[str, str] | None = None, **fields: Any) -> Answer:
    """A call with the token, or with other metadata; the request's fields by name."""
    request = GetMessageClass(SERVICE.methods_by_name[method].input_type)(**fields)
    metadata = double.metadata if metadata is None else metadata
    body = frame(request.SerializeToString())
    return (await post(double.port, f"/space.SpaceApi/{method}", metadata, body)).answer()


async def get(double: SpaceDouble, method: str, **fields: Any) -> Any:
    """The one message of a call that goes well."""
    return (await ask(double, method, **fields)).read(answer_class(method))


def answer_class(method: str) -> type[Message]:
    """What a method answers with."""
    return GetMessageClass(SERVICE.methods_by_name[method].output_type)
