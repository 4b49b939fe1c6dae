"""What connections are made of."""

from twisted.internet.interfaces import IConsumer, IPushProducer, ISystemHandle, ITCPTransport


class IWire(ITCPTransport, IConsumer, IPushProducer, ISystemHandle):
    """What every transport of ours can do: TCP, TLS over it, and Unix sockets, which have all that matters here."""
