"""Replies of Completions, written: chunks of a stream, and whole bodies.

Layer: dialects. The part of `openai_completions` that speaks to its clients.
Spec: https://platform.openai.com/docs/api-reference/completions/object

A completion is text and nothing else: a refusal in words is text, thinking and tool calls are lost.
"""

from typing import assert_never

from msgspec import Raw

from rawproxy.dialects.base import Carry
from rawproxy.dialects.call import Call
from rawproxy.dialects.events import (
    Close,
    Delta,
    End,
    Event,
    Fail,
    Note,
    Open,
    Reason,
    Sealed,
    Start,
    Stop,
    Usage,
    Whole,
)
from rawproxy.dialects.fold import Block, Choice, fold
from rawproxy.dialects.groove import around
from rawproxy.dialects.losses import Loss
from rawproxy.dialects.making import Item
from rawproxy.dialects.openai_completions.logprobs import Probabilities
from rawproxy.dialects.openai_shared import error_of, write_usage
from rawproxy.dialects.prompt import joined
from rawproxy.dialects.reading import encode
from rawproxy.wire import sse

__all__ = ["CompletionWriter", "write_body"]

ID_PREFIX = "cmpl-"

_FINISH: dict[Reason, str] = {
    "end": "stop",
    "stop_sequence": "stop",
    "tools": "stop",
    "pause": "stop",
    "compaction": "stop",
    "malformed": "stop",
    "length": "length",
    "context": "length",
    "filter": "content_filter",
    "refusal": "content_filter",
}


def _head(start: Start, call: Call, reply_id: str, now: int) -> Item:
    known = start.id or reply_id
    return {
        "id": known if known.startswith(ID_PREFIX) else ID_PREFIX + known,
        "object": "text_completion",
        "created": now if start.created is None else start.created,
        "model": start.model or call.model,
    }


def _finish(stop: Stop, *, refused: bool) -> Item:
    """Return `finish_reason`, and the matched stop sequence, which the API itself never tells.

    A refusal in words (`refused`) ends with `stop`: its text is all there.
    """
    word = "stop" if stop.reason == "refusal" and refused else _FINISH[stop.reason]
    finish: Item = {"finish_reason": word}
    if stop.sequence is not None:
        finish["stop_sequence"] = stop.sequence
    return finish


def _mark(opened: Open) -> object:
    """Return what two blocks share whose texts go on from one another."""
    return opened.kind, opened.phase


class _Losses:
    """What of a reply had no words, each once."""

    def __init__(self) -> None:
        self.found: list[Loss] = []

    def add(self, what: str | None) -> None:
        loss = Loss(f"reply.{what}", "no such thing there")
        if loss not in self.found:
            self.found.append(loss)

    def opened(self, opened: Open) -> bool:
        """Return whether a block is text here; what is not is lost."""
        if opened.seal is not None:
            self.add("seal")
        if opened.kind in ("text", "refusal"):
            return True
        self.add(opened.name if opened.kind == "tool" else opened.kind)
        return False


class _Choice:
    """What has been written of one choice."""

    def __init__(self) -> None:
        self.mark: object = None  # of the text before: its kind and phase
        self.refused = False
        self.probabilities = Probabilities()


class CompletionWriter:
    """Writes one reply as a stream of chunks.

    Args:
        call: what the client asked.
        reply_id: used where the upstream gave none.
        now: Unix seconds, used likewise.
    """

    def __init__(self, call: Call, reply_id: str, now: int) -> None:
        self._call = call
        self._reply_id = reply_id
        self._now = now
        self._losses = _Losses()
        self._texts: dict[int, Open] = {}  # blocks that are text here
        self._choices: dict[int, _Choice] = {}
        self._usage: Usage | None = None
        self._head = b""
        self._tail = b',"usage":null}' if call.wants_usage else b"}"
        self._over = False

    @property
    def losses(self) -> list[Loss]:
        """What of the reply had no words here."""
        return self._losses.found

    def write(self, event: Event) -> bytes:
        """Return the event's chunks; see `StreamWriter`."""
        if self._over:
            return b""
        match event:
            case Delta():
                return self._delta(event)
            case Start():
                head = _head(event, self._call, self._reply_id, self._now)
                self._head = encode(head)[:-1] + b',"choices":['
            case Open():
                if self._losses.opened(event):
                    self._texts[event.block] = event
            case Note():
                self._losses.add("citations")
            case Whole(shows=shows):
                self._losses.add(shows)
            case Usage():
                self._usage = event if self._usage is None else self._usage.merged(event)
            case Stop(choice=number):
                finish = _finish(event, refused=self._choice(number).refused)
                return self._chunk(number, b'""', b"null", encode(finish)[1:-1])
            case End():
                return self._end()
            case Fail():
                self._over = True
                return sse.write(encode({"error": error_of(event)}))
            case Close(block=block):
                self._texts.pop(block, None)
            case Sealed():
                pass
            case _:
                assert_never(event)
        return b""

    def carry(self, block: int) -> Carry | None:
        """Return what writes one more piece of the text that is under way; see `StreamWriter`."""
        opened = self._texts.get(block)
        if self._over or opened is None or self._choice(opened.choice).mark != _mark(opened):
            return None
        frame = self._chunk(opened.choice, b'"\0"', b"null")
        return around(frame)

    def keepalive(self) -> bytes:
        """Return a comment: every client skips it."""
        return sse.comment(b"keepalive")

    def joined(self) -> None:
        """Learn nothing: an error frame is the same at any time."""

    def _choice(self, number: int) -> _Choice:
        return self._choices.setdefault(number, _Choice())

    def _chunk(
        self, number: int, text: bytes, logprobs: bytes, finish: bytes = b'"finish_reason":null'
    ) -> bytes:
        return sse.write(
            b'%s{"text":%s,"index":%d,"logprobs":%s,%s}]%s'
            % (self._head, text, number, logprobs, finish, self._tail)
        )

    def _delta(self, delta: Delta) -> bytes:
        opened = self._texts.get(delta.block)
        if opened is None:
            return b""
        choice = self._choice(opened.choice)
        text = delta.text
        mark = _mark(opened)
        if text and choice.mark not in (None, mark):
            text = f"\n\n{text}"
        if text:
            choice.mark = mark
        choice.refused = choice.refused or opened.kind == "refusal"
        if delta.logprobs and not choice.probabilities.add(delta.logprobs):
            self._losses.add("logprobs")
        return self._chunk(opened.choice, encode(text), choice.probabilities.told())

    def _end(self) -> bytes:
        self._over = True
        data = b""
        if self._call.wants_usage and self._usage is not None:
            data = sse.write(self._head + b'],"usage":%s}' % encode(write_usage(self._usage)))
        return data + sse.write(b"[DONE]")


def write_body(
    events: list[Event], call: Call, reply_id: str, now: int
) -> tuple[bytes, list[Loss]]:
    """Write a whole reply as one body.

    Raises:
        UpstreamNonsense: the reply failed.
    """
    reply = fold(events)
    reply.choice(0)
    losses = _Losses()
    body = _head(reply.start, call, reply_id, now)
    body["choices"] = [
        _body_choice(number, choice, losses) for number, choice in sorted(reply.choices.items())
    ]
    if reply.usage is not None:
        body["usage"] = write_usage(reply.usage)
    return encode(body), losses.found


def _body_choice(number: int, choice: Choice, losses: _Losses) -> Item:
    said: list[tuple[object, str]] = []
    probabilities = Probabilities()
    for item in choice.items:
        if not isinstance(item, Block):
            losses.add(item.shows)
            continue
        if item.notes:
            losses.add("citations")
        if losses.opened(item.opened):
            said.append((_mark(item.opened), item.text))
            for piece in item.logprobs:
                if not probabilities.add(piece):
                    losses.add("logprobs")
    finish = _finish(choice.stop or Stop("end"), refused=bool(choice.text("refusal")))
    return {
        "text": joined(said),
        "index": number,
        "logprobs": Raw(probabilities.told()),
    } | finish
