"""Replies of text completions, written: both forms of stream, and whole bodies.

Layer: dialects. The part of `anthropic_complete` that speaks to its clients.
Spec: https://platform.claude.com/docs/en/api/streaming, and the client of the `anthropic` package
0.2.10, which reads line by line: every line that is not JSON behind `data: ` breaks it, but for
`event: ping` with the line behind it.

A completion is text and nothing else: a refusal in words is text, thinking and tool calls are lost.
It opens with a space, as the model would go on behind `Assistant:`; clients take it off.
"""

from typing import assert_never

from msgspec import Raw

from rawproxy.dialects.anthropic_complete.transcript import HUMAN
from rawproxy.dialects.anthropic_shared import error_of
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
from rawproxy.dialects.groove import around
from rawproxy.dialects.losses import Loss
from rawproxy.dialects.making import Item
from rawproxy.dialects.reading import encode
from rawproxy.errors import UpstreamNonsense
from rawproxy.wire import sse

__all__ = ["CompletionWriter", "write_body"]

ID_PREFIX = "compl_"
CUMULATIVE = ("", "2023-01-01")
"""Versions whose streams hold all of the text so far in every frame."""

_LENGTHS: tuple[Reason, ...] = ("length", "context")
_UNTOLD: tuple[Reason, ...] = ("refusal", "filter", "pause", "malformed")
"""Reasons that the API's two words do not tell."""


class _Text:
    """The text of a reply as its events come, and what had no words.

    Args:
        call: what the client asked.
    """

    def __init__(self, call: Call) -> None:
        self.losses: list[Loss] = []
        self._blocks: dict[int, Open] = {}  # those that are text here
        self._mark: object = None  # of the text before: its kind and phase
        # Behind the client's own beginning of the answer, a space would be one too many.
        self._lead = "" if call.prefill else " "

    def take(self, event: Event) -> str:
        """Return the text that an event adds."""
        match event:
            case Delta():
                return self._delta(event)
            case Open():
                self._open(event)
            case Note():
                self._lose("citations")
            case Whole(shows=shows):
                self._lose(shows)
            case Stop(reason=reason, choice=0) if reason in _UNTOLD:
                self._lose("stop_reason")
            case Close(block=block):
                self._blocks.pop(block, None)
            case Start() | Sealed() | Usage() | Stop() | End() | Fail():
                pass
            case _:
                assert_never(event)
        return ""

    def goes_on(self, block: int) -> bool:
        """Return whether a Delta of an open block adds just what it says."""
        opened = self._blocks.get(block)
        return opened is not None and self._mark == (opened.kind, opened.phase)

    def _lose(self, what: str | None) -> None:
        loss = Loss(f"reply.{what}", "no such thing there")
        if loss not in self.losses:
            self.losses.append(loss)

    def _open(self, opened: Open) -> None:
        if opened.seal is not None:
            self._lose("seal")
        if opened.choice:
            self._lose("choices")
        elif opened.kind in ("text", "refusal"):
            self._blocks[opened.block] = opened
        else:
            self._lose(opened.name if opened.kind == "tool" else opened.kind)

    def _delta(self, delta: Delta) -> str:
        opened = self._blocks.get(delta.block)
        if opened is None:
            return ""
        if delta.logprobs:
            self._lose("logprobs")
        if not delta.text:
            return ""
        mark = (opened.kind, opened.phase)
        changed = self._mark not in (None, mark)
        lead = "\n\n" if changed else self._lead
        self._mark, self._lead = mark, ""
        return lead + delta.text


def _ending(stop: Stop) -> Item:
    """Return why a reply ended; models of this API stop at the human's turn, if at nothing else."""
    if stop.reason in _LENGTHS:
        return {"stop_reason": "max_tokens", "stop": None}
    return {"stop_reason": "stop_sequence", "stop": stop.sequence or HUMAN}


_HOLE = Raw(b'"\0"')
_GOES_ON: Item = {"stop_reason": None, "stop": None}


class _Form:
    """The members of a reply's objects, as a version has them.

    Args:
        call: what the client asked.
        reply_id: used where the upstream gave none.
    """

    def __init__(self, call: Call, reply_id: str) -> None:
        self.is_cumulative = call.variant in CUMULATIVE
        self._call = call
        self._reply_id = reply_id
        self.start = Start()

    def object(self, text: str | Raw, ending: Item, exception: str | None = None) -> Item:
        """Return one object: a frame's, or a body."""
        known = self.start.id or self._reply_id
        known = known if known.startswith(ID_PREFIX) else ID_PREFIX + known
        model = self.start.model or self._call.model
        if self.is_cumulative:
            return {
                "completion": text, **ending, "truncated": False, "exception": exception,
                "log_id": known, "model": model,
            }  # fmt: skip
        return {
            "type": "completion", "id": known, "completion": text, **ending, "model": model,
            "log_id": known,
        }  # fmt: skip


class CompletionWriter:
    """Writes one reply as a stream of the form that the client's version has.

    Args:
        call: what the client asked.
        reply_id: used where the upstream gave none.
    """

    def __init__(self, call: Call, reply_id: str) -> None:
        self._form = _Form(call, reply_id)
        self._text = _Text(call)
        self._said = ""  # cumulative form: all of the text so far
        self._stopped = False
        self._over = False

    @property
    def losses(self) -> list[Loss]:
        """What of the reply had no words here."""
        return self._text.losses

    def write(self, event: Event) -> bytes:
        """Return the event's frames; see `StreamWriter`."""
        if self._over:
            return b""
        new = self._text.take(event)
        if new:
            return self._frame(new, _GOES_ON)
        match event:
            case Start():
                self._form.start = event
            case Stop(choice=0):
                self._stopped = True
                return self._frame("", _ending(event))
            case End():
                self._over = True
                return sse.write(b"[DONE]") if self._form.is_cumulative else b""
            case Fail():
                self._over = True
                return self._fail(event)
        return b""

    def carry(self, block: int) -> Carry | None:
        """Return what writes one more piece of the text under way; see `StreamWriter`."""
        if self._over or self._form.is_cumulative or not self._text.goes_on(block):
            return None
        frame = self._incremental(_HOLE, _GOES_ON)
        return around(frame)

    def keepalive(self) -> bytes:
        """Return a ping: the oldest clients skip it with the line behind it, and skip no comment.

        Nothing behind the stop_reason, where they stop to read.
        """
        if self._stopped or self._over:
            return b""
        return sse.write(b"{}" if self._form.is_cumulative else b'{"type":"ping"}', name=b"ping")

    def joined(self) -> None:
        """Learn nothing: an error frame is the same at any time."""

    def _frame(self, new: str, ending: Item) -> bytes:
        if not self._form.is_cumulative:
            return self._incremental(new, ending)
        self._said += new
        return sse.write(encode(self._form.object(self._said, ending)))

    def _incremental(self, new: str | Raw, ending: Item) -> bytes:
        return sse.write(encode(self._form.object(new, ending)), name=b"completion")

    def _fail(self, fail: Fail) -> bytes:
        said = error_of(fail)
        if not self._form.is_cumulative:
            if self._stopped:
                return b""  # the reply was whole, and nobody reads on
            return sse.write(encode(said), name=b"error")
        error = said["error"]
        assert isinstance(error, dict)
        return sse.write(encode(self._form.object(self._said, _GOES_ON, error["message"])))


def write_body(events: list[Event], call: Call, reply_id: str) -> tuple[bytes, list[Loss]]:
    """Write a whole reply as one body.

    Raises:
        UpstreamNonsense: the reply failed.
    """
    form, text = _Form(call, reply_id), _Text(call)
    pieces: list[str] = []
    ending = _ending(Stop("end"))
    for event in events:
        pieces.append(text.take(event))
        match event:
            case Start():
                form.start = event
            case Stop(choice=0):
                ending = _ending(event)
            case Fail():
                raise UpstreamNonsense("the reply failed before it was whole")
    return encode(form.object("".join(pieces), ending)), text.losses
