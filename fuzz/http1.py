"""HTTP/1.1, both sides.

Whatever comes: nothing but HttpError; reads of any size mean the same; what is held stays below the
limits; what was accepted and is written again is one message with the same meaning, to us and to h11.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import h11

from fuzz.base import held, pick, pieces, reads, timed
from rawproxy.errors import HttpError
from rawproxy.wire.http import Body, End, HttpEvent, RequestHead, ResponseHead
from rawproxy.wire.http1 import (
    Limits,
    RequestReader,
    RequestStart,
    ResponseReader,
    write_response_head,
)

__all__ = ["FRAMING", "LIMITS", "NO_LIMITS", "check_rewritten", "run_request", "run_response"]

SMALL = Limits(head_bytes=1024, head_fields=24, body_bytes=4096)
LIMITS = [SMALL, Limits()]

NO_LIMITS = Limits(head_bytes=2**20, head_fields=2**16, body_bytes=2**30)

SLACK = 1024
"""Bytes that a reader may hold beside what its limits say: part of a chunk's size line."""

BODILESS = (204, 304)
"""Statuses that have no body, so that nothing may announce one."""

FRAMING = {b"content-length", b"transfer-encoding"}


@dataclass
class Message:
    """What was read of one message."""

    head: RequestHead | ResponseHead
    body: bytes = b""
    whole: bool = False


@dataclass
class Story:
    """What was read of a connection; `refused` is the status of the error that ended it."""

    messages: list[Message] = field(default_factory=list)
    refused: int | None = None

    def note(self, events: Sequence[HttpEvent]) -> None:
        """Add the events of one read."""
        for event in events:
            match event:
                case RequestHead() | ResponseHead():
                    self.messages.append(Message(event))
                case Body(data):
                    assert data, "an empty Body"
                    self.messages[-1].body += data
                case End():
                    self.messages[-1].whole = True
                case _:
                    raise AssertionError("HTTP/1.1 has no Reset")

    def note_end(self, close: Callable[[], list[HttpEvent] | None]) -> None:
        """Add what the end of the connection brings: an event, nothing, or an error."""
        try:
            self.note(close() or [])
        except HttpError as error:
            self.refused = error.status

    def begin(self, head: RequestHead | None) -> None:
        """Add a head whose event an error in the same read took away."""
        if head is not None and not (self.messages and self.messages[-1].head is head):
            self.messages.append(Message(head))


def read_requests(parts: Sequence[bytes], limits: Limits) -> Story:
    """Read a connection as a server does, which answers each request at once."""
    reader, story = RequestReader(limits), Story()
    try:
        for part in parts:
            events = timed(reader.feed, part)
            story.note(events)
            while events and isinstance(events[-1], End):
                if not reader.keep_alive:
                    return story
                events = timed(reader.next)
                story.note(events)
            assert held(reader) <= 3 * limits.head_bytes + len(part) + SLACK
    except HttpError as error:
        story.refused = error.status
        story.begin(reader.head)
        _check_ended(reader, error.status)
        return story
    story.note_end(reader.close)
    return story


def read_response(parts: Sequence[bytes], limits: Limits, *, head_request: bool) -> Story:
    """Read one response up to the end of the connection."""
    reader, story = ResponseReader(limits, head_request=head_request), Story()
    try:
        for part in parts:
            story.note(timed(reader.feed, part))
            assert held(reader) <= limits.head_bytes + len(part) + SLACK
    except HttpError as error:
        story.refused = error.status
        _check_ended(reader, error.status)
        return story
    story.note_end(reader.close)
    assert not reader.reusable
    return story


def run_request(data: bytes) -> None:
    """See the module."""
    limits = pick(data, LIMITS)
    whole, cut = read_requests(reads(data), limits), read_requests(pieces(data), limits)
    _same(whole, cut)
    for message in cut.messages:
        head = message.head
        assert isinstance(head, RequestHead)
        assert len(message.body) <= limits.body_bytes
        assert len(head.fields) <= limits.head_fields
        if message.whole and any(name == b"host" for name, _ in head.fields):
            check_rewritten(head, message.body)


def run_response(data: bytes) -> None:
    """See the module."""
    limits, head_request = pick(data, LIMITS), pick(data, (False, False, False, True), 1)
    whole = read_response(reads(data), limits, head_request=head_request)
    cut = read_response(pieces(data), limits, head_request=head_request)
    _same(whole, cut)
    for message in cut.messages:
        head = message.head
        assert isinstance(head, ResponseHead)
        assert 200 <= head.status <= 999
        fields = head.fields
        if head.status in BODILESS:
            fields = [one for one in fields if one[0] not in FRAMING]
        again = read_response(
            [write_response_head(head.status, fields)], NO_LIMITS, head_request=True
        )
        assert again.refused is None
        assert [(one.head.fields, one.whole) for one in again.messages] == [(fields, True)]


def _check_ended(reader: RequestReader | ResponseReader, status: int) -> None:
    """After an error no byte is read any more."""
    try:
        reader.feed(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    except HttpError as error:
        assert error.status == status
        return
    raise AssertionError("an error did not end the connection")


def _same(whole: Story, cut: Story) -> None:
    """Reads of any size mean the same; but an error takes away what came in the same read.

    The status of a refusal may differ, where two things are wrong and one read shows only the first.
    """
    assert (whole.refused is None) == (cut.refused is None)
    finished = [[one for one in story.messages if one.whole] for story in (whole, cut)]
    if whole.refused is None:
        assert whole.messages == cut.messages
        return
    assert len(finished[0]) <= len(finished[1]) <= len(finished[0]) + 1, "an error came too late"
    for first, second in zip(whole.messages, cut.messages, strict=False):
        assert first.head == second.head
        assert second.body.startswith(first.body)


def check_rewritten(head: RequestHead, body: bytes) -> None:
    """What we send for a request that we accepted is that request, and nothing follows it."""
    fields = [one for one in head.fields if one[0] not in FRAMING]
    wire = RequestStart(head.method, head.target, fields).write(body)
    again = read_requests([wire], NO_LIMITS)
    assert again.refused is None
    assert len(again.messages) == 1
    message = again.messages[0]
    assert isinstance(message.head, RequestHead)
    assert message.whole
    assert (message.head.method, message.head.target) == (head.method, head.target)
    assert [one for one in message.head.fields if one[0] not in FRAMING] == fields
    assert message.body == body
    _check_with_h11(wire, head, fields, body)


def _check_with_h11(
    wire: bytes, head: RequestHead, fields: list[tuple[bytes, bytes]], body: bytes
) -> None:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=2**20)
    connection.receive_data(wire)
    request = connection.next_event()
    assert isinstance(request, h11.Request)
    assert (request.method, request.target) == (head.method, head.target)
    read = [(name, value) for name, value in request.headers if name not in FRAMING]
    assert read == fields
    got = bytearray()
    while isinstance(event := connection.next_event(), h11.Data):
        got += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert got == body
    assert connection.trailing_data == (b"", False)
