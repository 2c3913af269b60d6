"""One try at one upstream: the request to send, and the pipe for its reply.

Layer: gateway.
"""

from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from msgspec.structs import replace

from rawproxy.dialects.base import Back, Carry, StreamWriter
from rawproxy.dialects.call import Call
from rawproxy.dialects.checked import Checked
from rawproxy.dialects.ends import (
    BodySink,
    BodySource,
    EngineSource,
    Sink,
    Source,
    StreamSink,
    StreamSource,
)
from rawproxy.dialects.events import Event
from rawproxy.dialects.losses import Loss, refuse, told
from rawproxy.dialects.pipe import Edit, PassBody, PassPipe, Pipe, RawPipe, TranslatePipe
from rawproxy.dialects.reading import encode
from rawproxy.dialects.reframe import Reframer
from rawproxy.dialects.rename import Rename
from rawproxy.dialects.unseal import holds_envelope, unseal
from rawproxy.errors import Untranslatable, UpstreamNonsense
from rawproxy.gateway.ask import Ask
from rawproxy.gateway.face import Face
from rawproxy.gateway.headers import kept_of_request
from rawproxy.gateway.keys import Key
from rawproxy.gateway.liveness import Timing
from rawproxy.gateway.providers import Wanted
from rawproxy.gateway.route import Candidate
from rawproxy.wire import jsonarray, splice
from rawproxy.wire.frame import Frame
from rawproxy.wire.http import Fields
from rawproxy.wire.http1 import RequestStart

__all__ = ["Attempt", "attempt", "voice"]

NOTHING_BACK = Back()
NOTHING = RequestStart(b"POST", b"", [])
"""Nothing is sent: to an engine, or by now."""

MOST_STARTS = 16
"""Starts of requests that are remembered for one header of a client's: models times keys, mostly one."""

_FRAMING = frozenset({b"content-length", b"transfer-encoding"})


@dataclass(slots=True)
class Attempt:
    """Send this request to this upstream. With an engine there is a call in place of a request.

    Attributes:
        candidate: upstream and model.
        key: the credential that is tried; an empty one where the upstream has none.
        face: the upstream's dialect, as it shows itself there; None for an engine.
        start: method, target and fields of the request.
        losses: what the request could not say.
        passed: the client and the upstream speak one dialect.
        checked: the client's writer, where this exchange is one of those that are watched.
    """

    candidate: Candidate
    key: Key
    face: Face | None
    start: RequestStart = NOTHING
    body: bytes = b""
    call: Call | None = None
    losses: list[Loss] = field(default_factory=list)
    back: Back = NOTHING_BACK
    drops_usage: bool = False
    passed: bool = False
    checked: Checked | None = None

    @property
    def target(self) -> bytes:
        """The target of the request; b"" where there is none."""
        return self.start.target

    def forget(self) -> None:
        """Let go of what was sent: the reply goes out, and may take minutes."""
        self.start, self.body = NOTHING, b""

    def pipe(self, ask: Ask, fields: Fields, timing: Timing, spoken: int = 0) -> Pipe:
        """Return the pipe for a reply whose head has these `fields`.

        Args:
            ask: the client's request.
            fields: the reply's header.
            timing: the limits.
            spoken: keepalives that went downstream already; the reply goes on from them.

        Raises:
            UpstreamNonsense: the reply is coded, and would have to be read.
        """
        assert self.face is not None
        passed, framing = self.passed, self.face.framing
        said = dict(reversed(fields))  # the first one of a name counts
        coded = said.get(b"content-encoding") not in (None, b"", b"identity")
        # Where the body ends with its connection, a break and an end look alike.
        framed = not _FRAMING.isdisjoint(said)
        if passed and coded and framing is ask.face.framing:
            return RawPipe(framed=framed)
        if coded:
            raise UpstreamNonsense(
                "the upstream answered in a content coding that nobody asked for"
            )
        streams = self.face.streams(said.get(b"content-type"), asked=ask.stream)
        rename = Rename(ask.dialect, framing, ask.model) if self._renames(ask) else None
        begun = spoken > 0 and ask.dialect.KEEPALIVE_BEGINS
        if passed and streams and ask.stream and not begun:
            return self._pass_stream(ask, rename, timing)
        if passed and not streams and not ask.stream:
            return PassBody(
                None if ask.counts else ask.dialect, limit=timing.frame_bytes, framed=framed,
                edit=rename.body if rename else None,
            )  # fmt: skip
        return TranslatePipe(
            self._source(streams, timing), self._sink(ask, timing, spoken), choices=ask.choices,
            stops=self.back.stops, asked=ask.model if rename else "",
        )  # fmt: skip

    def engine_pipe(self, ask: Ask, timing: Timing, spoken: int = 0) -> TranslatePipe:
        """Return the pipe for an engine's events; arguments as in `pipe`."""
        sink = self._sink(ask, timing, spoken)
        asked = ask.model if self._renames(ask) else ""
        return TranslatePipe(EngineSource(), sink, choices=ask.choices, asked=asked)

    def _pass_stream(self, ask: Ask, rename: Rename | None, timing: Timing) -> PassPipe:
        assert self.face is not None
        other = self.face.framing is not ask.face.framing
        reframer = Reframer(ask.face.framing) if other else None
        edits: list[Edit] = [self._drop_usage] if self.drops_usage else []
        if rename is not None:
            edits.append(rename.frame)
        return PassPipe(
            ask.dialect, _LateVoice(ask, reframer), frame_bytes=timing.frame_bytes, choices=ask.choices,
            edit=_both(*edits), framing=self.face.framing, reframe=reframer,
        )  # fmt: skip

    def _source(self, streams: bool, timing: Timing) -> Source:
        assert self.face is not None
        dialect = self.face.dialect
        if streams:
            reader = dialect.stream_reader(self.back)
            return StreamSource(reader, self.face.framing, timing.frame_bytes)
        return BodySource(dialect.read_reply, self.back, timing.frame_bytes)

    def _sink(self, ask: Ask, timing: Timing, spoken: int) -> Sink:
        if ask.stream:
            writer = ask.dialect.stream_writer(ask.call, ask.id, int(ask.wall))
            if ask.sampled(timing.grammar_sample):
                writer = self.checked = Checked(writer, ask.dialect)
            for _ in range(spoken):
                writer.keepalive()  # it went out in another voice: the same ids, the same numbers
            return StreamSink(ask.face.voiced(writer))
        return BodySink(ask.dialect, ask.call, ask.id, int(ask.wall))

    def _renames(self, ask: Ask) -> bool:
        return self.candidate.model != ask.model and not ask.counts

    def _drop_usage(self, frame: Frame) -> bytes:
        assert self.face is not None
        return b"" if self.face.dialect.is_usage_only(frame) else frame.raw


def _both(*edits: Edit) -> Edit | None:
    """Return one edit that is all of `edits`: what one of them drops the next ones do not see."""
    if len(edits) < 2:
        return edits[0] if edits else None
    drop, change = edits

    def edit(frame: Frame) -> bytes:
        return change(frame) if drop(frame) else b""

    return edit


def voice(ask: Ask, reframer: Reframer | None = None) -> StreamWriter:
    """Return a writer of the client's dialect that says no more than keepalives and one error.

    It needs nothing of the call: a pass must not fail on a body that only the upstream understands.

    Args:
        ask: the client's request.
        reframer: of the stream that it speaks in, where somebody else writes there as well.
    """
    sketch = Call(
        ask.dialect.NAME, ask.model, stream=True, variant=ask.given.variant, vault=ask.vault
    )
    return ask.face.voiced(ask.dialect.stream_writer(sketch, ask.id, int(ask.wall)), reframer)


class _LateVoice:
    """The `voice` beside a pass, made when it has something to say.

    Nearly all streams end without a word of ours, and it takes two kilobytes of each open one.
    """

    __slots__ = ("_ask", "_begun", "_made", "_reframer")

    def __init__(self, ask: Ask, reframer: Reframer | None) -> None:
        self._ask = ask
        self._reframer = reframer
        self._begun = False
        self._made: StreamWriter | None = None

    @property
    def losses(self) -> list[Loss]:
        return self._writer().losses

    def write(self, event: Event) -> bytes:
        return self._writer().write(event)

    def carry(self, block: int) -> Carry | None:
        return self._writer().carry(block)

    def keepalive(self) -> bytes:
        return self._writer().keepalive()

    def joined(self) -> None:
        self._begun = True
        if self._made is not None:
            self._made.joined()

    def _writer(self) -> StreamWriter:
        if self._made is None:
            self._made = voice(self._ask, self._reframer)
            if self._begun:
                self._made.joined()
        return self._made


def attempt(ask: Ask, candidate: Candidate, key: Key, timing: Timing) -> Attempt:
    """Return the try of `candidate` with `key`.

    Raises:
        Untranslatable: the upstream's dialect cannot say it; or, for a strict client, not all of it.
    """
    if candidate.upstream.engine is not None:
        # What only the client's dialect has, no engine does.
        lost = [Loss(path, "no such thing there") for path in ask.call.extra]
        made = Attempt(candidate, key, None, call=ask.call, losses=lost)
    else:
        made = _request(ask, candidate, key, timing)
    if made.losses:
        refuse(made.losses)
    if made.losses and ask.strict and (lost := told(made.losses)):
        listed = ", ".join(dict.fromkeys(loss.field for loss in lost))
        raise Untranslatable(f"{candidate.name} cannot be told: {listed}", param=lost[0].path)
    return made


def _request(ask: Ask, candidate: Candidate, key: Key, timing: Timing) -> Attempt:
    upstream = candidate.upstream
    face = upstream.face(upstream.dialect_for(ask.dialect.NAME, candidate.model))
    dialect = face.dialect
    passed = dialect is ask.dialect
    made = Attempt(candidate, key, face, passed=passed)
    if ask.counts and not (passed and upstream.counts(dialect.NAME)):
        return made  # it is answered here
    if passed:
        _pass_body(made, ask, timing)
    else:
        target = upstream.target(dialect.NAME, candidate.model)
        call, narrowed = _narrowed(ask.call, target.takes.most)
        written = dialect.write_call(call, target)
        made.body, made.losses = written.body, [*narrowed, *written.losses]
        made.back = replace(written.back, seed=ask.id[-8:])
    array = passed and ask.face.framing is jsonarray
    if array:
        made.face = ask.face
    starts, way = ask.starts, (upstream, candidate.model, ask.stream, key.secret)
    if starts is not None and (start := starts.get(way)) is not None:
        made.start = start
        return made
    kept = kept_of_request(
        ask.fields, ask.dialect.NAME, dialect.NAME, own_credential=ask.credential is not None
    )
    variant = ask.given.variant if passed else ""
    wanted = Wanted(dialect.NAME, candidate.model, ask.stream, ask.counts, variant, array)
    request = upstream.request(wanted, made.body, kept, key.secret, ask.wall)
    made.body, path = request.body, request.target
    if passed and ask.query and not (face.hosted or ask.face.hosted):
        query = _kept_query(ask.query)
        path += (b"&" if b"?" in path else b"?") + query if query else b""
    made.start = RequestStart(b"POST", path, request.fields)
    if starts is not None and not (upstream.varies(face) or ask.face.hosted):
        if len(starts) >= MOST_STARTS:
            starts.clear()
        starts[way] = made.start
    return made


def _narrowed(call: Call, most: int) -> tuple[Call, list[Loss]]:
    """Return a call that asks for no more than `most` output tokens (0: any), and what that lost.

    Agents ask for as much as their own vendor's models give, which others refuse.
    """
    if not most or call.limit is None or call.limit <= most:
        return call, []
    return replace(call, limit=most), [Loss(call.names.get("limit", "limit"), "narrower there")]


def _pass_body(made: Attempt, ask: Ask, timing: Timing) -> None:
    made.body = ask.body
    candidate = made.candidate
    if candidate.model != ask.model and ask.dialect.MODEL_FIELD:
        made.body = splice.replace(made.body, ask.dialect.MODEL_FIELD, encode(candidate.model))
    if holds_envelope(made.body):
        target = candidate.upstream.target(ask.dialect.NAME, candidate.model)
        made.body, made.losses = unseal(made.body, ask.vault, target)
    if timing.ask_usage and ask.stream:
        asking = ask.dialect.ask_usage(made.body)
        if asking is not None:
            made.body, made.drops_usage = asking, True


def _kept_query(query: bytes) -> bytes:
    """Return the query without `key`, which is a credential, and `alt`, which the path has already."""
    return b"&".join(
        part
        for part in query.split(b"&")
        if part and unquote_to_bytes(part.partition(b"=")[0]).lower() not in (b"key", b"alt")
    )
