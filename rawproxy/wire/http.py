"""HTTP messages as events: one set for HTTP/1.1 and HTTP/2, so that nothing above knows the version.

Layer: wire. Declarations only.
"""

import msgspec

__all__ = [
    "Alike", "Body", "End", "Field", "Fields", "HttpEvent", "RequestHead", "Reset", "ResponseHead",
]  # fmt: skip

Field = tuple[bytes, bytes]
"""A header field: its name in lower case, and its value."""

Fields = list[Field]
"""Header fields: names in lower case, in the order they came."""


class Alike:
    """What requests of one connection have in common whose heads say the same, but for the length of the body.

    Attributes:
        made: what their reader has made of the first such head, to find it again.
    """

    __slots__ = ("made",)

    def __init__(self) -> None:
        self.made: object = None


class RequestHead(msgspec.Struct, frozen=True):
    """The head of a request. `target` is in origin-form, or `*`; `version` is `1.0`, `1.1` or `2`."""

    method: bytes
    target: bytes
    fields: Fields
    version: bytes = b"1.1"

    @property
    def path(self) -> bytes:
        """The target without its query."""
        return self.target.partition(b"?")[0]

    @property
    def query(self) -> bytes:
        """What follows the question mark; b"" without one."""
        return self.target.partition(b"?")[2]


class ResponseHead(msgspec.Struct, frozen=True):
    """The head of a final response."""

    status: int
    fields: Fields
    version: bytes = b"1.1"


class Body(msgspec.Struct, frozen=True, gc=False):
    """Bytes of a body, framing taken off."""

    data: bytes


class End(msgspec.Struct, frozen=True, gc=False):
    """The message is whole."""


class Reset(msgspec.Struct, frozen=True, gc=False):
    """The peer gave the message up."""

    code: int


HttpEvent = RequestHead | ResponseHead | Body | End | Reset
