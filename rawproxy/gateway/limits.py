"""The limits of a server: every one has a name, a unit, a default and a configuration key.

Layer: gateway. Declarations only. Key: `server.limits.NAME`.
"""

import msgspec

__all__ = ["Limits"]


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one client, and all of them together, may take.

    Attributes:
        connections: open client connections; one more is closed at once.
        handshake_seconds: from the start of a connection to the end of PROXY header and TLS handshake.
        streams_per_connection: requests at the same time on one connection (HTTP/2; HTTP/1.1 has one).
        requests_per_connection: requests on one connection, after which it is ended in order.
        head_bytes: bytes of a request head, and of trailers.
        head_fields: header fields of a request.
        head_seconds: from the first byte of a request to the end of its head.
        body_bytes: bytes of a request body.
        bodies_bytes: bytes of all request bodies together, each until its exchange has ended.
        body_seconds: the longest gap between two pieces of a body.
        body_rate: bytes a second that a body has to average after the first `body_seconds`.
        idle_seconds: how long a connection may wait for its next request.
        write_seconds: how long a client may take none of a reply's bytes.
        attempts: tries at upstreams for one exchange, all candidates and keys together.
    """

    connections: int = 20000
    handshake_seconds: float = 10.0
    streams_per_connection: int = 128
    requests_per_connection: int = 10000
    head_bytes: int = 32768
    head_fields: int = 100
    head_seconds: float = 10.0
    body_bytes: int = 33554432
    bodies_bytes: int = 1073741824
    body_seconds: float = 10.0
    body_rate: float = 1000.0
    idle_seconds: float = 150.0
    write_seconds: float = 30.0
    attempts: int = 4
