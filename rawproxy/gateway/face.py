"""How a dialect shows itself at one door: its framing there, its errors, where a call's parts stand.

Layer: gateway. Most dialects have one face. Hosts of a dialect have their own: Bedrock and Vertex
carry Messages with the model in the path, Gemini answers a stream without `alt=sse` as an array.
"""

import re
from collections.abc import Callable

import msgspec

from rawproxy.dialects import DIALECTS
from rawproxy.dialects.base import Dialect, ErrorReply, Given, StreamWriter
from rawproxy.dialects.events import Fail
from rawproxy.dialects.reading import decode, encode
from rawproxy.dialects.reframe import Reframed, Reframer
from rawproxy.errors import ClientError, WireError
from rawproxy.gateway.invoke import INVOKE
from rawproxy.wire import jsonarray, splice
from rawproxy.wire.fields import get, read_media_type
from rawproxy.wire.frame import Framing
from rawproxy.wire.http import Fields

__all__ = [
    "FACES", "FIRST_VERSION", "GEMINI_ARRAY", "INVOKE_FACE", "VERSION", "VERTEX_FACE", "Face", "hosted",
]  # fmt: skip

BETAS = b"anthropic-beta"
"""The header field that hosts of Messages have as `anthropic_beta` in the body."""

VERSION = b"anthropic-version"

FIRST_VERSION = b"2023-06-01"
"""Sent where the client named none: it still takes sampling parameters, which 2026-10-21 refuses."""

_DATE = re.compile(rb'"(\d{4}-\d\d-\d\d)"')


class Face(msgspec.Struct, frozen=True, eq=False):
    """One face of a dialect.

    Attributes:
        dialect: what it says.
        framing: how its streams are framed here.
        errors: how its errors are told here.
        hosted: the model, `stream` and the API's version are not where the dialect has them.
        fields: header fields of replies that clients of this face look for.
    """

    dialect: Dialect
    framing: Framing
    errors: Callable[[Fail], ErrorReply]
    hosted: bool = False
    fields: tuple[tuple[bytes, bytes], ...] = ()

    def kind(self, *, stream: bool) -> Fields:
        """Return the header fields that say what a reply is."""
        media_type = self.framing.TYPE if stream else b"application/json"
        return [(b"content-type", media_type), *self.fields]

    def voiced(self, writer: StreamWriter, reframer: Reframer | None = None) -> StreamWriter:
        """Return a writer of the dialect as it has to sound here.

        Args:
            writer: the dialect's own.
            reframer: of the stream that it writes into, where somebody else does so as well.
        """
        if self.framing is self.dialect.FRAMING:
            return writer
        return Reframed(writer, self.dialect.FRAMING, reframer or Reframer(self.framing))

    def streams(self, media_type: bytes | None, *, asked: bool) -> bool:
        """Return whether a reply of this Content-Type is a stream.

        Where bodies and streams have one type, it is one if it was `asked` for.
        """
        if self.framing.TYPE in (b"application/json", b"text/plain"):
            return asked
        return read_media_type(media_type or b"") == self.framing.TYPE

    def arrived(self, body: bytes, given: Given, fields: Fields) -> tuple[bytes, Fields]:
        """Return a call that came in at this door as the dialect has it.

        Raises:
            ClientError: the body is no JSON object, or has a key twice.
        """
        if not self.hosted:
            return body, fields
        try:
            betas = splice.value(body, "anthropic_beta")
            version = splice.value(body, "anthropic_version") or b""
            for name in ("anthropic_version", "anthropic_beta"):
                body = splice.remove(body, name)
            body = splice.replace(body, "model", encode(given.model or ""))
            body = splice.replace(body, "stream", encode(bool(given.stream)))
        except WireError as error:
            raise ClientError(f"the body cannot be read: {error}") from error
        if dated := _DATE.fullmatch(version):
            fields = [*fields, (VERSION, dated[1])]
        if betas is None:
            return body, fields
        try:
            named = ",".join(decode(betas, list[str]))
        except ValueError:
            raise ClientError("anthropic_beta: expected a list of strings") from None
        return body, [*fields, (BETAS, named.encode("latin-1", "replace"))]


def hosted(body: bytes, fields: Fields, version: str, *, streams: bool) -> tuple[bytes, Fields]:
    """Return a Messages call as its hosts want it: without model, with version and betas in the body.

    Args:
        body: the call.
        fields: what goes with it; version and betas are moved into the body.
        version: the host's own, e.g. `bedrock-2023-05-31`; a newer one that the client named wins.
        streams: whether `stream` stays in the body.
    """
    body = splice.remove(body, "model")
    if not streams:
        body = splice.remove(body, "stream")
    named = get(fields, VERSION)
    if named is not None and named != FIRST_VERSION:
        version = named.decode("latin-1")
    body = splice.replace(body, "anthropic_version", encode(version))
    if betas := get(fields, BETAS):
        listed = [one.strip() for one in betas.decode("latin-1").split(",")]
        body = splice.replace(body, "anthropic_beta", encode(listed))
    return body, [(name, value) for name, value in fields if name not in (BETAS, VERSION)]


FACES: dict[str, Face] = {
    name: Face(dialect, dialect.FRAMING, dialect.write_error) for name, dialect in DIALECTS.items()
}
"""Every dialect as it shows itself at its own door."""

INVOKE_FACE = Face(
    DIALECTS["anthropic_messages"],
    INVOKE,
    DIALECTS["bedrock_converse"].write_error,
    hosted=True,
    fields=((b"x-amzn-bedrock-content-type", b"application/json"),),
)
VERTEX_FACE = msgspec.structs.replace(FACES["anthropic_messages"], hosted=True)
GEMINI_ARRAY = msgspec.structs.replace(FACES["gemini"], framing=jsonarray)
