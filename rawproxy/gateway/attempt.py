"""One try at one upstream: the request to send, and the pipe for its reply.

Layer: gateway.
"""

from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from msgspec.structs import replace

from rawproxy.dialects import DIALECTS
from rawproxy.dialects.base import Back, Dialect, StreamWriter
from rawproxy.dialects.call import Call
from rawproxy.dialects.losses import Loss, refuse, told
from rawproxy.dialects.pipe import (
    BodySink,
    BodySource,
    EngineSource,
    PassBody,
    PassPipe,
    Pipe,
    RawPipe,
    Sink,
    Source,
    StreamSink,
    StreamSource,
    TranslatePipe,
)
from rawproxy.dialects.reading import encode
from rawproxy.dialects.unseal import holds_envelope, unseal
from rawproxy.errors import Untranslatable, UpstreamNonsense
from rawproxy.gateway.ask import Ask
from rawproxy.gateway.keys import Key
from rawproxy.gateway.liveness import Timing
from rawproxy.gateway.providers import kept_of_request
from rawproxy.gateway.route import Candidate
from rawproxy.wire import splice
from rawproxy.wire.fields import get, read_media_type
from rawproxy.wire.frame import Frame
from rawproxy.wire.http import Fields

__all__ = ["Attempt", "attempt", "voice"]

_STREAM = b"text/event-stream"


@dataclass(slots=True)
class Attempt:
    """Send this request to this upstream. With an engine there is a call in place of a request.

    Attributes:
        candidate: upstream and model.
        key: the credential that is tried; an empty one where the upstream has none.
        dialect: the upstream's; None for an engine.
        losses: what the request could not say.
    """

    candidate: Candidate
    key: Key
    dialect: Dialect | None
    target: bytes = b""
    fields: Fields = field(default_factory=list)
    body: bytes = b""
    call: Call | None = None
    losses: list[Loss] = field(default_factory=list)
    back: Back = field(default_factory=Back)
    drops_usage: bool = False

    def pipe(self, ask: Ask, fields: Fields, timing: Timing) -> Pipe:
        """Return the pipe for a reply whose head has these `fields`.

        Raises:
            UpstreamNonsense: the reply is coded, and would have to be read.
        """
        passed = self.dialect is ask.dialect
        coded = get(fields, b"content-encoding") not in (None, b"", b"identity")
        # Where the body ends with its connection, a break and an end look alike.
        framed = any(name in (b"content-length", b"transfer-encoding") for name, _ in fields)
        if passed and coded:
            return RawPipe(framed=framed)
        if coded:
            raise UpstreamNonsense(
                "the upstream answered in a content coding that nobody asked for"
            )
        streams = read_media_type(get(fields, b"content-type") or b"") == _STREAM
        if passed and streams and ask.stream:
            return PassPipe(
                ask.dialect, voice(ask), frame_bytes=timing.frame_bytes, choices=ask.choices,
                edit=self._drop_usage if self.drops_usage else None,
            )  # fmt: skip
        if passed and not streams and not ask.stream:
            return PassBody(
                None if ask.counts else ask.dialect, limit=timing.frame_bytes, framed=framed
            )
        return TranslatePipe(self._source(streams, timing), self._sink(ask), choices=ask.choices)

    def engine_pipe(self, ask: Ask) -> TranslatePipe:
        """Return the pipe for an engine's events."""
        return TranslatePipe(EngineSource(), self._sink(ask), choices=ask.choices)

    def _source(self, streams: bool, timing: Timing) -> Source:
        assert self.dialect is not None
        if streams:
            return StreamSource(self.dialect.stream_reader(self.back), timing.frame_bytes)
        return BodySource(self.dialect.read_reply, self.back, timing.frame_bytes)

    def _sink(self, ask: Ask) -> Sink:
        if ask.stream:
            return StreamSink(ask.dialect.stream_writer(ask.call, ask.id, int(ask.wall)))
        return BodySink(ask.dialect, ask.call, ask.id, int(ask.wall))

    def _drop_usage(self, frame: Frame) -> bytes:
        assert self.dialect is not None
        return b"" if self.dialect.is_usage_only(frame) else frame.raw


def voice(ask: Ask) -> StreamWriter:
    """Return a writer of the client's dialect that says no more than keepalives and one error.

    It needs nothing of the call: a pass must not fail on a body that only the upstream understands.
    """
    sketch = Call(ask.dialect.NAME, ask.model, stream=True, vault=ask.vault)
    return ask.dialect.stream_writer(sketch, ask.id, int(ask.wall))


def attempt(ask: Ask, candidate: Candidate, key: Key, timing: Timing) -> Attempt:
    """Return the try of `candidate` with `key`.

    Raises:
        Untranslatable: the upstream's dialect cannot say it; or, for a strict client, not all of it.
    """
    if candidate.upstream.engine is not None:
        made = Attempt(candidate, key, None, call=ask.call)
    else:
        made = _request(ask, candidate, key, timing)
    refuse(made.losses)
    if ask.strict and (lost := told(made.losses)):
        listed = ", ".join(dict.fromkeys(loss.field for loss in lost))
        raise Untranslatable(f"{candidate.name} cannot be told: {listed}", param=lost[0].path)
    return made


def _request(ask: Ask, candidate: Candidate, key: Key, timing: Timing) -> Attempt:
    upstream = candidate.upstream
    dialect = DIALECTS[upstream.dialect_for(ask.dialect.NAME)]
    made = Attempt(candidate, key, dialect)
    if dialect is ask.dialect:
        _pass_body(made, ask, timing)
    else:
        written = dialect.write_call(ask.call, upstream.target(dialect.NAME, candidate.model))
        made.body, made.losses = written.body, written.losses
        made.back = replace(written.back, seed=ask.id[-8:])
    made.target = upstream.path(dialect.NAME, "/count_tokens" if ask.counts else "").encode()
    if dialect is ask.dialect and (query := _kept_query(ask.query)):
        made.target += b"?" + query
    kept = kept_of_request(
        ask.fields, ask.dialect.NAME, dialect.NAME, own_credential=ask.credential is not None
    )
    made.fields = upstream.fields(dialect.NAME, key.secret, kept, stream=ask.stream)
    return made


def _pass_body(made: Attempt, ask: Ask, timing: Timing) -> None:
    made.body = ask.body
    candidate = made.candidate
    if candidate.model != ask.model:
        made.body = splice.replace(made.body, "model", encode(candidate.model))
    if holds_envelope(made.body):
        target = candidate.upstream.target(ask.dialect.NAME, candidate.model)
        made.body, made.losses = unseal(made.body, ask.vault, target)
    if timing.ask_usage and ask.stream:
        asking = ask.dialect.ask_usage(made.body)
        if asking is not None:
            made.body, made.drops_usage = asking, True


def _kept_query(query: bytes) -> bytes:
    """Return the query without `key`, which is a credential."""
    return b"&".join(
        part
        for part in query.split(b"&")
        if part and unquote_to_bytes(part.partition(b"=")[0]).lower() != b"key"
    )
