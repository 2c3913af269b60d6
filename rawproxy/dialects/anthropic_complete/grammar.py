"""What text completions promise of a stream, as a checker of both forms.

Layer: dialects. The part of `anthropic_complete` behind `rawproxy.validate`; no reply passes
through it. The first completion decides which form a stream has.
Spec: https://platform.claude.com/docs/en/api/streaming, and the client of the `anthropic` package
0.2.10.
"""

from typing import Literal

from rawproxy.dialects.reading import decode
from rawproxy.wire.frame import Frame

__all__ = ["CompletionGrammar"]

Json = dict[str, object]

_STOPS = ("stop_sequence", "max_tokens")


class CompletionGrammar:
    """Checks one stream, frame by frame. Pings are fine anywhere before the end."""

    def __init__(self) -> None:
        self._form: Literal["", "incremental", "cumulative"] = ""
        self._model: object = None
        self._text = ""
        self._stopped = False
        self._over = ""

    def check(self, frame: Frame) -> list[str]:
        """Return the rules that `frame` breaks; see `Grammar`."""
        if not frame.has_data:
            # The oldest clients read a comment as data.
            is_comment = self._form == "cumulative" and frame.raw.strip()
            return ["comment: the clients of this form skip none"] if is_comment else []
        if self._over:
            return [f"end: a frame after {self._over}"]
        if frame.name == b"ping":
            return []
        if frame.data == b"[DONE]":
            return self._check_done()
        try:
            said = decode(frame.data, dict[str, object])
        except ValueError:
            return ["json: the data is not a JSON object"]
        if frame.name == b"error":
            return self._check_error(said)
        if frame.name not in (b"completion", b""):
            return [f"name: {frame.name.decode('utf-8', 'replace')} is no event"]
        return self._check_completion(said, is_named=frame.name != b"")

    def close(self) -> list[str]:
        """Return what the end of the stream breaks; see `Grammar`."""
        if self._over:
            return []
        wanted = "[DONE]" if self._form == "cumulative" else "stop_reason"
        return [f"end: neither {wanted} nor an error came"]

    def _check_done(self) -> list[str]:
        self._over = "[DONE]"
        if self._form != "cumulative":
            return ["form: [DONE] is of the other one"]
        return [] if self._stopped else ["stop: [DONE] before any stop_reason"]

    def _check_error(self, said: Json) -> list[str]:
        self._over = "an error"
        error = said.get("error")
        if said.get("type") != "error" or not isinstance(error, dict):
            return ["error: it has no type, or no error"]
        told = [isinstance(error.get(name), str) for name in ("type", "message")]
        broken = [] if all(told) else ["error: it has no type, or no message"]
        return [
            *broken,
            *(["form: an event of the other one"] if self._form == "cumulative" else ()),
        ]

    def _check_completion(self, said: Json, *, is_named: bool) -> list[str]:
        form: Literal["incremental", "cumulative"] = "incremental" if is_named else "cumulative"
        broken = [] if self._form in ("", form) else ["form: it changed"]
        self._form = form
        text, word = said.get("completion"), said.get("stop_reason")
        failed = said.get("exception") is not None
        if not isinstance(text, str):
            return [*broken, "completion: not a text"]
        if said.get("model") is None:
            broken.append("model: missing")
        elif self._model not in (None, said["model"]):
            broken.append("model: it changed")
        self._model = said.get("model")
        if word is not None and word not in _STOPS:
            broken.append(f"stop: {word} is no stop_reason")
        if self._stopped and not failed:
            broken.append("stop: it goes on after stop_reason")
        self._stopped = self._stopped or word is not None
        if is_named:
            if said.get("type") != "completion":
                broken.append("type: not completion")
            self._over = "stop_reason" if word is not None else ""
            return broken
        if "type" in said:
            broken.append("type: the other form has it")
        if not (text.startswith(self._text) or failed):
            broken.append("completion: not all of the text so far")
        self._text = text
        self._over = "an exception" if failed else ""
        return broken
