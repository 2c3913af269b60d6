"""Replies of Ollama, written: the lines of a stream, and whole bodies.

Layer: dialects. The part of `ollama_chat` that speaks to its clients.
Source: the `ollama` package 0.6.3 (`_types.ChatResponse`, `_types.GenerateResponse`).

A tool call is written whole, when its arguments are. Durations are left out: nobody measured them.
Clients cut the stream into lines as Unicode does, so the line ends that JSON allows inside of
strings are escaped.
"""

import re
from datetime import UTC, datetime
from typing import assert_never

from msgspec import Raw

from rawproxy.dialects.base import Carry
from rawproxy.dialects.call import Call
from rawproxy.dialects.envelope import Seal
from rawproxy.dialects.events import (
    Close,
    Delta,
    End,
    Event,
    Fail,
    Note,
    Open,
    Sealed,
    Start,
    Stop,
    Usage,
    Whole,
)
from rawproxy.dialects.fold import Block, Choice, fold
from rawproxy.dialects.freeform import wrap
from rawproxy.dialects.groove import around
from rawproxy.dialects.losses import Loss
from rawproxy.dialects.ollama_chat.call_reader import GENERATE
from rawproxy.dialects.ollama_chat.errors import error_line
from rawproxy.dialects.ollama_chat.turn_writer import Item, json_object, said
from rawproxy.dialects.prompt import joined
from rawproxy.dialects.reading import decode, encode
from rawproxy.wire import ndjson

__all__ = ["LineWriter", "write_body"]

_LINE_END = re.compile(rb"\xe2\x80[\xa8\xa9]|\xc2\x85")
_ESCAPED = {
    b"\xe2\x80\xa8": b"\\u2028",
    b"\xe2\x80\xa9": b"\\u2029",
    b"\xc2\x85": b"\\u0085",
}
_REFUSAL = "refusal"
"""What words of refusal belong to, as texts do to their phase."""

_LENGTHS = ("length", "context")
_UNSAID = ("refusal", "filter", "pause", "malformed", "compaction")
"""Reasons that nothing here tells from a plain end."""


def _line(data: bytes) -> bytes:
    """Return JSON as a line that no reader takes for two."""
    return ndjson.write(_escaped(data))


def _escaped(data: bytes) -> bytes:
    return _LINE_END.sub(lambda match: _ESCAPED[match[0]], data)


def _head(start: Start, call: Call, now: int) -> Item:
    created = now if start.created is None else start.created
    return {"model": start.model or call.model, "created_at": _time(created) or _time(now)}


def _time(seconds: int) -> str:
    """Return Unix seconds as RFC 3339; "" for a time that no calendar has."""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return ""


def _mark(opened: Open) -> object:
    return _REFUSAL if opened.kind == "refusal" else opened.phase


def _tool_call(opened: Open, text: str) -> Item:
    name = opened.name or ""
    name = f"{opened.namespace}__{name}" if opened.namespace else name
    arguments = json_object(wrap(text) if opened.tool == "freeform" else text, one_line=True)
    if arguments is None:
        arguments = Raw(encode({"_raw": text}))
    return {"function": {"name": name, "arguments": arguments}}


def _ending(stop: Stop | None, usage: Usage | None) -> Item:
    """Return what the last line adds: why it is the last, and the counts that are known."""
    word = "length" if stop and stop.reason in _LENGTHS else "stop"
    counts = usage or Usage()
    return {"done": True, "done_reason": word} | said(
        prompt_eval_count=counts.input, eval_count=counts.output
    )


class _Losses:
    """What of a reply had no words here, each thing once."""

    def __init__(self, call: Call) -> None:
        self.found: list[Loss] = []
        self._generates = call.variant == GENERATE

    def add(self, what: str | None) -> None:
        loss = Loss(f"reply.{what}", "no such thing there")
        if loss not in self.found:
            self.found.append(loss)

    def admits(self, opened: Open) -> bool:
        """Return whether a block is written; a loss where it is not."""
        if opened.seal is not None:
            self.seal(opened.seal)
        if opened.choice:
            self.add("choices")
        elif opened.kind == "tool" and (opened.runs == "vendor" or self._generates):
            self.add(opened.name)
        else:
            return True
        return False

    def seal(self, seal: Seal) -> None:
        # A seal around nothing only says whose words these are.
        if seal.raw != "{}":
            self.add("seal")

    def stop(self, stop: Stop) -> None:
        if stop.reason in _UNSAID:
            self.add("stop_reason")

    def logprobs(self, piece: bytes | Raw) -> list[Raw]:
        """Return the entries for the tokens of a piece of text."""
        try:
            found = decode(piece, dict[str, list[Raw] | None]).get("content")
        except ValueError:
            found = None
        if found is None:
            self.add("logprobs")
        return found or []


class _Tool:
    """A tool call in the making."""

    def __init__(self, opened: Open) -> None:
        self.opened = opened
        self.pieces: list[str] = []


class LineWriter:
    """Writes one reply as a stream.

    Args:
        call: what was asked.
        now: Unix seconds, used where the upstream gave no time.
    """

    def __init__(self, call: Call, now: int) -> None:
        self._call = call
        self._now = now
        self._losses = _Losses(call)
        self.losses = self._losses.found
        self._texts: dict[int, Open] = {}
        self._tools: dict[int, _Tool] = {}
        self._head = b""
        self._mark: object = None
        self._said = self._over = False
        self._usage: Usage | None = None
        self._stop: Stop | None = None

    def carry(self, block: int) -> Carry | None:
        """Return what writes one more piece of the text that is under way; see `StreamWriter`."""
        opened = self._texts.get(block)
        if self._over or opened is None or opened.kind != "text" or not self._said:
            return None
        if self._mark != _mark(opened):
            return None
        return around(self._piece(b'"\0"'))

    def write(self, event: Event) -> bytes:
        """Return an event's bytes; see `StreamWriter`."""
        if self._over:
            return b""
        match event:
            case Delta():
                return self._delta(event)
            case Start():
                self._start(event)
            case Open():
                if self._losses.admits(event):
                    self._open(event)
            case Close(block=number):
                return self._close(number)
            case Sealed(block=number, seal=seal):
                if number in self._texts:
                    self._losses.seal(seal)
            case Note():
                self._losses.add("citations")
            case Whole(shows=shows):
                self._losses.add(shows)
            case Usage():
                self._usage = event if self._usage is None else self._usage.merged(event)
            case Stop():
                return self._stopped(event)
            case End():
                return self._end()
            case Fail():
                self._over = True
                return _line(error_line(event))
            case _:
                assert_never(event)
        return b""

    def keepalive(self) -> bytes:
        """Return nothing: clients parse every line."""
        return b""

    def joined(self) -> None:
        """Learn nothing: every line has its whole head."""

    def _start(self, start: Start) -> None:
        self._head = encode(_head(start, self._call, self._now))[:-1]

    def _open(self, opened: Open) -> None:
        if opened.kind == "tool":
            self._tools[opened.block] = _Tool(opened)
        else:
            self._texts[opened.block] = opened

    def _delta(self, delta: Delta) -> bytes:
        tool = self._tools.get(delta.block)
        if tool is not None:
            tool.pieces.append(delta.text)
            return b""
        opened = self._texts.get(delta.block)
        if opened is None:
            return b""
        text = encode(delta.text)
        if opened.kind == "thinking":
            return self._piece(b'"","thinking":%b' % text)
        if delta.text:
            text = encode(self._apart(_mark(opened), delta.text))
        if not delta.logprobs:
            return self._piece(text)
        entries = self._losses.logprobs(delta.logprobs)
        return self._piece(text, b',"logprobs":%b' % encode(entries) if entries else b"")

    def _apart(self, mark: object, text: str) -> str:
        """Return text with a blank line before it where it does not go on from what was said."""
        fresh = self._said and mark != self._mark
        self._said, self._mark = True, mark
        return f"\n\n{text}" if fresh else text

    def _piece(
        self, content: bytes, beside: bytes = b"", ending: bytes = b'"done":false}'
    ) -> bytes:
        """Return a line; `content` may go on to further members of the message."""
        if not self._head:
            self._start(Start())
        if self._call.variant == GENERATE:
            message = b'"response":%b' % content
        else:
            message = b'"message":{"role":"assistant","content":%b}' % content
        return _line(b"%b,%b%b,%b" % (self._head, message, beside, ending))

    def _close(self, number: int) -> bytes:
        self._texts.pop(number, None)
        tool = self._tools.pop(number, None)
        if tool is None:
            return b""
        calls = encode([_tool_call(tool.opened, "".join(tool.pieces))])
        return self._piece(b'"","tool_calls":%b' % calls)

    def _stopped(self, stop: Stop) -> bytes:
        if stop.choice:
            self._losses.add("choices")
            return b""
        self._stop = stop
        self._losses.stop(stop)
        if stop.reason != "refusal" or not stop.detail or self._mark == _REFUSAL:
            return b""
        return self._piece(encode(self._apart(_REFUSAL, stop.detail)))

    def _end(self) -> bytes:
        self._over = True
        return self._piece(b'""', ending=encode(_ending(self._stop, self._usage))[1:])


def write_body(events: list[Event], call: Call, now: int) -> tuple[bytes, list[Loss]]:
    """Write a whole reply as one body.

    Raises:
        UpstreamNonsense: the reply failed.
    """
    reply = fold(events)
    losses = _Losses(call)
    for number in reply.choices:
        if number:
            losses.add("choices")
    choice = reply.choice(0)
    blocks = _admitted(choice, losses)
    stop = choice.stop or Stop("end")
    losses.stop(stop)
    content = _content(blocks, stop)
    thoughts = "".join(block.text for block in blocks if block.opened.kind == "thinking")
    calls = [_tool_call(b.opened, b.text) for b in blocks if b.opened.kind == "tool"]
    probs = [entry for b in blocks for piece in b.logprobs for entry in losses.logprobs(piece)]
    extra = said(thinking=thoughts or None, tool_calls=calls or None)
    if call.variant == GENERATE:
        message: Item = {"response": content} | extra
    else:
        message = {"message": {"role": "assistant", "content": content} | extra}
    body = _head(reply.start, call, now) | message | said(logprobs=probs or None)
    return _escaped(encode(body | _ending(stop, reply.usage))), losses.found


def _admitted(choice: Choice, losses: _Losses) -> list[Block]:
    """Return the blocks that are written; the rest are losses."""
    found = []
    for item in choice.items:
        if isinstance(item, Whole):
            losses.add(item.shows)
        elif losses.admits(item.opened):
            found.append(item)
            if item.notes:
                losses.add("citations")
            if item.seal is not None:
                losses.seal(item.seal)
    return found


def _content(blocks: list[Block], stop: Stop) -> str:
    texts = [
        (_mark(block.opened), block.text)
        for block in blocks
        if block.opened.kind in ("text", "refusal") and block.text
    ]
    refused = bool(texts) and texts[-1][0] == _REFUSAL
    if stop.reason == "refusal" and stop.detail and not refused:
        texts.append((_REFUSAL, stop.detail))
    return joined(texts)
