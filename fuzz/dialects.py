"""Dialects: calls, replies, errors and streams of each, read and written in another one.

Whatever comes: nothing but the errors that the `Dialect` protocol names. What was read is written so
that the other dialect's rules hold and its own reader takes it. Reads of any size give the same bytes.
What passes keeps every byte.
"""

import json
import re
from collections.abc import Callable, Iterable
from functools import partial

from fuzz.base import held, pick, pieces, reads, timed
from rawproxy.dialects import DIALECTS
from rawproxy.dialects.base import NOTHING_GIVEN, Back, Dialect, Given, Target
from rawproxy.dialects.call import Call
from rawproxy.dialects.ends import BodySink, BodySource, StreamSink, StreamSource
from rawproxy.dialects.envelope import Origin, Vault
from rawproxy.dialects.events import Event, Fail
from rawproxy.dialects.grammar import validate
from rawproxy.dialects.losses import header
from rawproxy.dialects.models import takes
from rawproxy.dialects.pipe import PassPipe, Pipe, TranslatePipe
from rawproxy.errors import ClientError, UpstreamCut, UpstreamError, UpstreamNonsense
from rawproxy.gateway.verdict import fail_of
from rawproxy.wire.frame import MAX_FRAME
from rawproxy.wire.http1 import write_response_head
from tests.dialects.order import Order

__all__ = ["CLIENTS", "RUNS"]

CLIENTS = [name for name in DIALECTS if name != "plain_text"]
"""Dialects that clients speak; plain text is an upstream's only."""

MODELS = {
    "openai_chat": ["gpt-5.2", "gpt-4o", "m"], "openai_responses": ["gpt-5.2", "m"],
    "openai_completions": ["gpt-3.5-turbo-instruct"], "anthropic_complete": ["claude-2.1"],
    "anthropic_messages": ["claude-opus-4-8", "claude-3-5-haiku-latest", "m"],
    "gemini": ["gemini-3-pro", "gemini-2.0-flash"], "ollama_chat": ["qwen3:8b"], "plain_text": ["m"],
    "bedrock_converse": ["us.anthropic.claude-opus-4-8-v1:0", "amazon.nova-pro-v1:0"],
}  # fmt: skip
"""Models that calls are written for: of each kind that is written for in its own way."""

VARIANTS = {"ollama_chat": ["", "generate"], "anthropic_complete": ["2023-01-01", "2023-06-01"]}

STATUSES = [400, 401, 403, 404, 408, 409, 413, 418, 422, 429, 500, 502, 503, 504, 529, 599]

VAULT = Vault(b"fuzz", "fuzz")

SMALL_FRAME = 300
"""Bytes a frame may have in some runs, so that most are longer."""

UPSTREAMS_OWN = (
    "the input of a tool is not a JSON object",
    "stop_sequence does not say which",
    "two items have one id",
    "two items have one call_id",
    "toolUse without its id, or its name",
)
"""Broken rules that are no fault of a writer: what a model wrote and what its vendor ran is sent on as
it comes, and an upstream may have met a stop sequence without saying which."""

WILD_NUMBER = re.compile(rb"[0-9]{309}|[0-9][eE]\+?[0-9]{3}")
"""Numbers that are JSON, and that the reader of our grammars takes for none."""

SLACK = 65536
"""Bytes that a pipe may hold beside a frame and a read: ids and names that were said before."""


# -- calls


def run_call(dialect: Dialect, data: bytes) -> None:
    """Read a call and write it for another dialect, which reads it."""
    given = _given(dialect, data)
    try:
        seen = timed(dialect.glance, data, given)
        call = timed(dialect.read_call, data, VAULT, given)
    except ClientError as error:
        _check_error(dialect, client_fail(error))
        return
    assert (seen.model, seen.stream) == (call.model, call.stream)
    if (asking := timed(dialect.ask_usage, data)) is not None:
        assert isinstance(_load(asking), dict)
    name = pick(data, list(DIALECTS), 1)
    other = DIALECTS[name]
    model = pick(data, MODELS[name], 2)
    try:
        written = timed(other.write_call, call, Target(model, takes(name, model), Origin(name)))
    except ClientError as error:
        _check_error(dialect, client_fail(error))
        return
    assert isinstance(_load(written.body), dict)
    header(written.losses)
    if name != "plain_text" and call.turns:  # one without is the upstream's to refuse
        variant = call.variant if other is dialect else ""
        told = NOTHING_GIVEN if other.MODEL_FIELD else Given(model, stream=call.stream)
        again = other.read_call(written.body, VAULT, Given(told.model, told.stream, variant))
        assert again.model == model


def client_fail(error: ClientError) -> Fail:
    """Return what a client is told of its error."""
    return Fail("invalid", str(error), param=error.param, status=error.status)


def _given(dialect: Dialect, data: bytes) -> Given:
    variant = pick(data, VARIANTS.get(dialect.NAME, [""]), 3)
    return (
        Given("m", stream=pick(data, (True, False), 4), variant=variant)
        if not dialect.MODEL_FIELD
        else Given(variant=variant)
    )


# -- replies


def run_reply(dialect: Dialect, data: bytes) -> None:
    """Read a reply and write it as a body and as a stream of another dialect."""
    back = _back(dialect, data)
    try:
        events = timed(dialect.read_reply, data, back)
    except (UpstreamNonsense, UpstreamCut):
        return
    _check_order(events)
    name = pick(data, CLIENTS, 1)
    call = _asked(name, data)
    stream = TranslatePipe(
        BodySource(lambda *_: events, back, len(data)),
        StreamSink(DIALECTS[name].stream_writer(call, "made", 7)),
    )
    _check_grammar(name, b"".join([*stream.feed(data), *timed(stream.close)]), call)
    if isinstance(events[-1], Fail):
        _check_error(DIALECTS[name], events[-1])
        return
    body = BodySink(DIALECTS[name], call, "made", 7)
    for event in events:
        body.write(event)
    written = timed(body.close)
    assert isinstance(_load(written), dict)
    _check_order(DIALECTS[name].read_reply(written, Back()))


def _back(dialect: Dialect, data: bytes) -> Back:
    field = pick(data, ("", "text"), 5) if dialect.NAME == "plain_text" else ""
    return Back(Origin(dialect.NAME), text_field=field, seed="fuzz")


def _asked(name: str, data: bytes) -> Call:
    variant = pick(data, VARIANTS.get(name, [""]), 3)
    return Call(name, "m", stream=True, wants_usage=True, variant=variant, vault=VAULT)


def _check_order(events: Iterable[Event]) -> None:
    order = Order()
    for event in events:
        order.check(event)
    assert order.over, "the events of a reply have no end"


def _check_grammar(name: str, stream: bytes, call: Call) -> None:
    if WILD_NUMBER.search(stream):
        return
    broken = [text for text in map(str, validate(name, stream)) if not text.endswith(UPSTREAMS_OWN)]
    assert not broken, f"{name} {call.variant}: {'; '.join(broken[:2])}"


def _load(data: bytes) -> object:
    """Return JSON, with numbers of any length."""
    found: object = json.loads(data, parse_int=float)
    return found


# -- errors


def run_error(dialect: Dialect, data: bytes) -> None:
    """Read an error of any shape, and tell it in every dialect."""
    fail = timed(dialect.read_error, pick(data, STATUSES), data)
    assert isinstance(fail, Fail)
    for name in CLIENTS:
        _check_error(DIALECTS[name], fail)


def _check_error(dialect: Dialect, fail: Fail) -> None:
    """What is told is JSON, has an error's status and a head that may be sent; in a stream as well."""
    told = timed(dialect.write_error, fail)
    assert 400 <= told.status <= 599
    assert isinstance(_load(told.body), dict)
    write_response_head(told.status, [(b"content-type", b"application/json"), *told.fields])
    again = dialect.read_error(told.status, told.body)
    assert again.status == told.status, f"{dialect.NAME}: {told.status} reads as {again.status}"
    writer = dialect.stream_writer(Call(dialect.NAME, "m", stream=True), "made", 7)
    _check_grammar(dialect.NAME, writer.write(fail), Call(dialect.NAME, "m"))


# -- streams


def run_stream(dialect: Dialect, data: bytes) -> None:
    """Carry a stream into another dialect."""
    name = pick(data, CLIENTS, 1)
    call = _asked(name, data)
    frame_bytes = pick(data, (MAX_FRAME, MAX_FRAME, SMALL_FRAME), 6)

    def pipe() -> TranslatePipe:
        reader = dialect.stream_reader(_back(dialect, data))
        source = StreamSource(reader, dialect.FRAMING, frame_bytes)
        return TranslatePipe(source, StreamSink(DIALECTS[name].stream_writer(call, "made", 7)))

    whole, cut = _through(pipe(), reads(data)), _through(pipe(), pieces(data))
    if dialect.NAME != "plain_text":  # there each read is a piece of its own
        assert whole == cut
    _check_grammar(name, whole, call)
    timed(_judge, dialect.NAME, data)
    spoken = _through(pipe(), pieces(data), keepalives=True)
    _check_grammar(name, spoken, call)
    _check_events(dialect, data)


def _judge(name: str, stream: bytes) -> list[str]:
    """Return what the grammar says of an input: it never fails."""
    return list(map(str, validate(name, stream)))


def _through(pipe: Pipe, parts: list[bytes], *, keepalives: bool = False) -> bytes:
    """Return what a client is sent, as an exchange does it: one terminal error for what breaks."""
    sent: list[bytes] = []
    try:
        for part in parts:
            sent += timed(pipe.feed, part)
            if pipe.broken:
                break
            if keepalives:
                sent.append(pipe.keepalive())
        sent += timed(pipe.close)
    except UpstreamError as error:
        sent += pipe.fail(fail_of(error))
    assert (pipe.tally.failure is None) == pipe.tally.ended, "neither an end nor an error, or both"
    assert pipe.fail(Fail("server", "late")) == [], "something was told after the end"
    header(pipe.losses)
    return b"".join(sent)


def _check_events(dialect: Dialect, data: bytes) -> None:
    """Readers keep the order of events."""
    source = StreamSource(dialect.stream_reader(_back(dialect, data)), dialect.FRAMING, MAX_FRAME)
    order = Order()
    try:
        for event in source.feed(data):
            order.check(event)
        if not order.over:
            for event in source.close():
                order.check(event)
        assert order.over
    except UpstreamError:
        return


# -- what passes


def run_pass(dialect: Dialect, data: bytes) -> None:
    """Pass a stream through."""
    frame_bytes = pick(data, (MAX_FRAME, MAX_FRAME, SMALL_FRAME), 6)
    call = _asked(dialect.NAME, data)

    def pipe() -> PassPipe:
        writer = dialect.stream_writer(call, "made", 7)
        return PassPipe(dialect, writer, frame_bytes=frame_bytes)

    whole, cut = pipe(), pipe()
    sent = b"".join(part for read in reads(data) for part in timed(whole.feed, read))
    assert data.startswith(sent)
    passed = b""
    for part in pieces(data):
        passed += b"".join(timed(cut.feed, part))
        assert data.startswith(passed)
        assert held(cut) <= frame_bytes + len(part) + 3 * len(data) + SLACK
    assert passed + _ending(cut) == sent + _ending(whole)
    assert whole.fail(Fail("server", "late")) == []
    assert (whole.tally.stop, whole.tally.usage) == (cut.tally.stop, cut.tally.usage)


def _ending(pipe: PassPipe) -> bytes:
    try:
        return b"".join(pipe.close())
    except UpstreamError as error:
        return b"".join(pipe.fail(fail_of(error)))


RUNS: dict[str, Callable[[bytes], None]] = {
    f"{name}.{what}": partial(run, DIALECTS[name])
    for name in DIALECTS
    for what, run in (
        ("call", run_call), ("reply", run_reply), ("error", run_error), ("stream", run_stream),
        ("pass", run_pass),
    )
    if name != "plain_text" or what in ("reply", "stream", "pass")
}  # fmt: skip
"""Every dialect's targets, by their names."""
