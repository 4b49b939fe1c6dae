"""What the doubles of gRPC-Web servers share: a server whose transports are those of improbable's Go wrapper.

A double adds services to the `dispatcher` of a `server.DoubleServer`; `peer` is a plain client for its tests.
"""
