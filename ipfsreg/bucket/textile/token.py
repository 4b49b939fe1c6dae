"""The token that says which identity calls: a challenge signed with its key.

See docs/protocols/textile.md, "Identities and tokens".
"""

from ipfsreg.bucket.errors import Unavailable
from ipfsreg.grpcweb.call import Stream
from ipfsreg.grpcweb.channel import Channel, Transport

from .identity import Identity
from .proto import threads_pb2
from .signing import CallMetadata

_METHOD = "/threads.pb.API/GetToken"


async def get_token(channel: Channel, identity: Identity, metadata: CallMetadata, seconds: float) -> str:
    """Ask the server for a token within some ``seconds``. It does not expire.

    :raises CallError: where the server does not give one.
    :raises Unavailable: where what it sends makes no sense.
    """
    stream: Stream[threads_pb2.GetTokenReply] = channel.stream(
        _METHOD,
        threads_pb2.GetTokenReply,
        deadline=seconds,
        metadata=metadata(),
        transport=Transport.WEBSOCKET,
    )
    try:
        stream.requests.send(threads_pb2.GetTokenRequest(key=identity.public_key))
        reply = await stream.responses.receive()
        if reply is None or not reply.challenge:
            raise Unavailable("GetToken: the server sent no challenge")
        stream.requests.send(threads_pb2.GetTokenRequest(signature=identity.sign(reply.challenge)))
        stream.requests.finish()
        return (await stream.responses.only()).token
    finally:
        stream.cancel()
