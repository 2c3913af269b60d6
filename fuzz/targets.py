"""The list of targets; a new parser is one more line."""

from fuzz import corpus, http1, http2, splitters, values
from fuzz.base import Mutate, Target
from fuzz.dialects import RUNS
from fuzz.frames import CLIENT_SEEDS, SERVER_SEEDS, of_http2
from fuzz.mutate import of_bytes, of_frames, of_json, of_lines
from rawproxy.dialects import DIALECTS
from rawproxy.dialects.events import Fail, FailKind
from rawproxy.wire import jsonarray
from rawproxy.wire.frame import MAX_FRAME, Framing
from rawproxy.wire.h2.frames import PREFACE

__all__ = ["TARGETS"]

_SHOWN = {"sse": "anthropic_messages", "ndjson": "ollama_chat", "eventstream": "bedrock_converse"}
"""Framings, and a dialect whose streams are framed so."""

_WORDS = {
    "sse": [b"data: ", b"data:", b"data", b"event: x", b"id: 1", b": c", b"\n\n", b"\r\r", b"\r\n\r\n", b"\n", b"\r", b"\xef\xbb\xbf", b"retry: 1"],
    "ndjson": [b"\n", b"\r\n", b"{}", b'{"a":1}', b" ", b"\n\n"],
    "jsonarray": [b"[", b"]", b"{", b"}", b",", b'"', b'\\"', b"\\", b"\\\\", b"[{}]", b"},\r\n{", b"1", b"null", b" "],
    "eventstream": [b"\0\0\0\x10", b"\0\0\0\0", b"\xff\xff\xff\xff", b":event-type", b":message-type", b"\x07\0\x05", b"\x0d"],
    "text": [b"\xc3", b"\xc3\xbc", b"\xe2\x82", b"\xf0\x9f\x98\x80", b"\xf0\x9f\x98", b"\x80", b"\xff", b"a"],
}  # fmt: skip

_FIELDS = [
    b"30", b"0", b"-1", b"1.5", b"1" * 400, b"Fri, 31 Dec 1999 23:59:59 GMT", b"Friday, 31-Dec-99 23:59:59 GMT",
    b"Fri Dec 31 23:59:59 1999", b"Fri, 31 Feb 0000 23:59:59 GMT", b"text/event-stream; charset=utf-8", b"A/B",
    b"a.example:8080", b"[::1]:80", b"[::ffff:127.0.0.1]", b"localhost.", b"127.0.0.1", b"%41:65536", b"a:99999",
    b"Bearer abc", b"bearer  x", b"close, x , Keep-Alive", b"12345678901234567890", b"007", b"\xb2", b"",
]  # fmt: skip


def _dialect(name: str) -> Target:
    dialect, what = name.split(".")
    words = corpus.words(dialect)
    if what == "error":
        seeds = [*corpus.bodies(dialect, "error"), *_errors()]
    else:
        seeds = (
            corpus.streams(dialect) if what in ("stream", "pass") else corpus.bodies(dialect, what)
        )
    framing = DIALECTS[dialect].FRAMING
    mutate: Mutate = (
        of_json(words) if what in ("call", "reply", "error") else of_frames(framing, words)
    )
    return Target(name, RUNS[name], lambda: seeds, mutate)


def _errors() -> list[bytes]:
    """Return errors as every dialect spells them: proxies in between tell theirs."""
    kinds: tuple[FailKind, ...] = (
        "invalid",
        "overflow",
        "rate_limit",
        "authentication",
        "server",
        "overloaded",
    )
    own = [
        one.write_error(
            Fail(kind, "prompt is too long: 2 tokens > 1 maximum", code="c", param="p")
        ).body
        for one in DIALECTS.values()
        for kind in kinds
    ]
    return [*own, b"", b"Bad Gateway", b"<html>", b'{"error":"x"}', b'[{"error":{"code":429}}]']


def _framed(framing: Framing, name: str) -> list[bytes]:
    if name in _SHOWN:
        return corpus.streams(_SHOWN[name])
    if framing is jsonarray:
        return [
            b"[%b]"
            % b",\r\n".join(
                frame.data for frame in DIALECTS["gemini"].FRAMING.splitter(MAX_FRAME).feed(stream)
            )
            for stream in corpus.streams("gemini")
        ]
    return corpus.streams("plain_text")


def _splitter(name: str) -> Target:
    framing = splitters.FRAMINGS[name]
    words = _WORDS[name]
    mutate = of_frames(framing, ["a", "type"]) if name == "eventstream" else of_bytes(words)
    return Target(name, splitters.runner(name), lambda: [*words, *_framed(framing, name)], mutate)


_ALL = [
    Target("h1_request", http1.run_request, lambda: corpus.REQUESTS, of_lines(corpus.HTTP_WORDS)),
    Target("h1_response", http1.run_response, lambda: corpus.RESPONSES, of_lines(corpus.HTTP_WORDS)),
    Target("h2_server", http2.run_server, lambda: SERVER_SEEDS, of_http2(PREFACE)),
    Target("h2_client", http2.run_client, lambda: CLIENT_SEEDS, of_http2(b"")),
    *map(_splitter, splitters.FRAMINGS),
    Target("splice", values.run_splice, lambda: corpus.bodies("openai_chat", "call"), of_json(["model", "rp1.", "new", "data:x"])),
    Target("fields", values.run_fields, lambda: _FIELDS, of_bytes(_FIELDS)),
    Target("proxy_protocol", values.run_proxy_protocol, lambda: corpus.PROXIED, of_bytes(corpus.PROXY_WORDS)),
    Target("client_hello", values.run_client_hello, lambda: corpus.HELLOS, of_bytes([b"\0\0", b"\x16\x03\x01", b"\xff\xff", b"A.example", b"\x01\0\0"])),
    *map(_dialect, RUNS),
]  # fmt: skip

TARGETS: dict[str, Target] = {target.name: target for target in _ALL}
"""Every target by its name."""
