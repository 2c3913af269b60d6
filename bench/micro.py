"""`python -m bench.micro`: what each step of the hot path costs in this process, beside a yardstick.

A figure is CPU time for one unit, the median of interleaved repeats; its yardstick is measured in
the same repeats on the same bytes. Microseconds differ from machine to machine, and from minute to
minute on a shared one; the ratios are to be compared.

The yardsticks: h11 for whatever reads or writes heads and chunks, hpack for the header blocks of
HTTP/2, and the standard library's `json.loads` of the event for whatever carries events. What
translating costs has its own: see `bench.translation`, whose tables follow here unless `--quick` is
given.
"""

import argparse
import gc
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import h11
import hpack

from bench import translation
from rawproxy.dialects import DIALECTS
from rawproxy.dialects.call import Call
from rawproxy.dialects.pipe import PassPipe
from rawproxy.wire import eventstream, ndjson, sse
from rawproxy.wire.bodies import Chunked
from rawproxy.wire.frame import MAX_FRAME, Framing
from rawproxy.wire.h2.blocks import BlockDecoder, write_block
from rawproxy.wire.http import Fields
from rawproxy.wire.http1 import (
    Limits,
    RequestReader,
    RequestStart,
    ResponseReader,
    write_chunk,
    write_response_head,
)

__all__ = ["CASES", "Case", "main", "measure_micro"]

UNITS = 400
"""Units of one repeat: events, heads."""


def _event(text: str) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "logprobs": None, "finish_reason": None}
    return json.dumps({
        "id": "chatcmpl-BrG7xYc0Qe1kTz5uWv3mNp9sLd2Hf", "object": "chat.completion.chunk",
        "created": 1767225600, "model": "gpt-4o-mini-2024-07-18",
        "system_fingerprint": "fp_a1b2c3d4e5", "choices": [choice],
    }, separators=(",", ":")).encode()  # fmt: skip


EVENTS = [_event(f" word{at}") for at in range(UNITS)]

LIMITS = Limits()

BODY = b"x" * 1024

REQUEST_FIELDS: Fields = (
    (b"host", b"127.0.0.1:8000"),
    (b"user-agent", b"OpenAI/Python 1.99.0"),
    (b"accept", b"application/json"),
    (b"accept-encoding", b"identity"),
    (b"content-type", b"application/json"),
    (b"authorization", b"Bearer sk-test-0123456789abcdef"),
    (b"x-stainless-lang", b"python"),
    (b"x-stainless-retry-count", b"0"),
)

RESPONSE_FIELDS: Fields = (
    (b"content-type", b"application/json"),
    (b"date", b"Sat, 21 Nov 2026 12:00:00 GMT"),
    (b"x-request-id", b"req_0123456789abcdef"),
    (b"openai-processing-ms", b"12"),
    (b"x-ratelimit-remaining-requests", b"9999"),
    (b"content-length", b"%d" % len(BODY)),
)

Run = Callable[[], object]


@dataclass(frozen=True)
class Case:
    """One row.

    Attributes:
        name: what is measured.
        unit: of what a repeat has `UNITS`.
        run: one repeat.
        yardstick: the name of what it is measured beside.
        beside: one repeat of that.
    """

    name: str
    unit: str
    run: Run
    yardstick: str
    beside: Run


# -- events


def _splitting(framing: Framing, together: int = 1) -> Run:
    """So many frames in a read."""
    frames = [framing.write(event) for event in EVENTS]
    reads = [b"".join(frames[at : at + together]) for at in range(0, UNITS, together)]

    def run() -> None:
        feed = framing.splitter(MAX_FRAME).feed
        for read in reads:
            feed(read)

    return run


def _passing() -> Run:
    """The pipe of a stream whose ends speak one dialect: frames are cut, looked at, passed."""
    dialect = DIALECTS["openai_chat"]
    call = Call("openai_chat", "m", stream=True, wants_usage=True)
    reads = [sse.write(event) for event in EVENTS]

    def run() -> None:
        writer = dialect.stream_writer(call, "bench", 1_760_000_000)
        feed = PassPipe(dialect, writer, frame_bytes=MAX_FRAME).feed
        for read in reads:
            feed(read)

    return run


def _parsing() -> None:
    for event in EVENTS:
        json.loads(event)


# -- HTTP/1.1

CHUNKS = [write_chunk([sse.write(event)]) for event in EVENTS]


def _following() -> None:
    take = Chunked(max_bytes=2**64, max_trailers=LIMITS.head_bytes).take
    for read in CHUNKS:
        take(read)


def _following_h11() -> None:
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("host", "a")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    connection.next_event()
    for read in CHUNKS:
        connection.receive_data(read)
        while connection.next_event() is not h11.NEED_DATA:
            pass


def _request() -> bytes:
    return RequestStart(b"POST", b"/v1/chat/completions", REQUEST_FIELDS).write(BODY)


def _response() -> bytes:
    return write_response_head(200, RESPONSE_FIELDS) + BODY


def _reading_requests() -> Run:
    data = _request()

    def run() -> None:
        reader = RequestReader(LIMITS)
        for _ in range(UNITS):
            reader.feed(data)
            reader.next()

    return run


def _reading_responses() -> Run:
    data = _response()

    def run() -> None:
        for _ in range(UNITS):
            ResponseReader(LIMITS).feed(data)

    return run


def _reading_h11(role: Any, data: bytes) -> Run:
    """A connection for each: h11 wants the answer before it reads a second message."""

    def run() -> None:
        for _ in range(UNITS):
            connection = h11.Connection(role)
            if role is h11.CLIENT:
                connection.send(_H11_GET)
                connection.send(_H11_END)
            connection.receive_data(data)
            while not isinstance(connection.next_event(), h11.EndOfMessage):
                pass

    return run


_H11_GET = h11.Request(method="GET", target="/", headers=[("host", "a")])
_H11_END = h11.EndOfMessage()


def _writing_requests() -> None:
    for _ in range(UNITS):
        RequestStart(b"POST", b"/v1/chat/completions", REQUEST_FIELDS).write(BODY)


def _writing_requests_h11() -> None:
    fields = [*REQUEST_FIELDS, (b"content-length", b"%d" % len(BODY))]
    for _ in range(UNITS):
        connection = h11.Connection(h11.CLIENT)
        head = h11.Request(method=b"POST", target=b"/v1/chat/completions", headers=fields)
        connection.send(head)
        connection.send(h11.Data(BODY))
        connection.send(_H11_END)


def _writing_responses() -> None:
    for _ in range(UNITS):
        write_response_head(200, RESPONSE_FIELDS)


def _writing_responses_h11() -> None:
    for _ in range(UNITS):
        connection = h11.Connection(h11.SERVER)
        connection.send(h11.Response(status_code=200, headers=list(RESPONSE_FIELDS)))


# -- HTTP/2

HPACK_FIELDS: Fields = [
    (b":method", b"POST"), (b":scheme", b"https"), (b":authority", b"127.0.0.1:8080"),
    (b":path", b"/v1/chat/completions"), *REQUEST_FIELDS,
]  # fmt: skip


def _blocks() -> list[bytes]:
    """Return the header blocks of requests that say the same: from the second on, all of it is in the table."""
    encoder = hpack.Encoder()
    return [encoder.encode(HPACK_FIELDS) for _ in range(UNITS)]


def _decoder() -> Callable[[bytes], Any]:
    return BlockDecoder(LIMITS.head_bytes).decode


def _decoder_hpack() -> Callable[[bytes], Any]:
    return partial(hpack.Decoder().decode, raw=True)


def _reading_blocks(make: Callable[[], Callable[[bytes], Any]], blocks: list[bytes]) -> Run:
    def run() -> None:
        decode = make()
        for block in blocks:
            decode(block)

    return run


def _writing_blocks() -> None:
    for _ in range(UNITS):
        write_block(HPACK_FIELDS)


def _writing_blocks_hpack() -> None:
    encoder = hpack.Encoder()
    for _ in range(UNITS):
        encoder.encode(HPACK_FIELDS)


_INDEXED = _blocks()
_WRITTEN_OUT = [write_block(HPACK_FIELDS)] * UNITS
_CODED = _INDEXED[:1] * UNITS

CASES = (
    Case("SSE splitter, a frame a read", "frame", _splitting(sse), "json.loads", _parsing),
    Case("SSE splitter, 50 frames a read", "frame", _splitting(sse, 50), "json.loads", _parsing),
    Case("NDJSON splitter", "line", _splitting(ndjson), "json.loads", _parsing),
    Case("eventstream splitter", "message", _splitting(eventstream), "json.loads", _parsing),
    Case("PassPipe, chat", "event", _passing(), "json.loads", _parsing),
    Case("chunk follower", "chunk", _following, "h11", _following_h11),
    Case(
        "request reader, 8 fields, 1 KB", "request", _reading_requests(),
        "h11", _reading_h11(h11.SERVER, _request()),
    ),
    Case(
        "response reader, 6 fields, 1 KB", "response", _reading_responses(),
        "h11", _reading_h11(h11.CLIENT, _response()),
    ),
    Case("write_request", "request", _writing_requests, "h11", _writing_requests_h11),
    Case("write_response_head", "head", _writing_responses, "h11", _writing_responses_h11),
    Case(
        "header block, in the table", "block", _reading_blocks(_decoder, _INDEXED),
        "hpack", _reading_blocks(_decoder_hpack, _INDEXED),
    ),
    Case(
        "header block, written out", "block", _reading_blocks(_decoder, _WRITTEN_OUT),
        "hpack", _reading_blocks(_decoder_hpack, _WRITTEN_OUT),
    ),
    Case(
        "header block, Huffman's code", "block", _reading_blocks(_decoder, _CODED),
        "hpack", _reading_blocks(_decoder_hpack, _CODED),
    ),
    Case("write_block", "block", _writing_blocks, "hpack", _writing_blocks_hpack),
)  # fmt: skip


# -- measuring


def _seconds(run: Run) -> float:
    began = time.process_time()
    run()
    return (time.process_time() - began) / UNITS


def measure_micro(repeats: int = 25) -> list[dict[str, Any]]:
    """Return a row for each case: `name`, `unit`, `us`, `yardstick`, `yardstick_us`, `ratio`.

    Repeats go round all cases, so that a slow minute of the machine falls on every one of them.
    `ratio` is the median of the ratios within a repeat.
    """
    pairs: list[list[tuple[float, float]]] = [[] for _ in CASES]
    for case in CASES:  # warm
        case.run()
        case.beside()
    enabled = gc.isenabled()
    gc.disable()
    try:
        for _ in range(repeats):
            for case, found in zip(CASES, pairs, strict=True):
                found.append((_seconds(case.run), _seconds(case.beside)))
            gc.collect()
    finally:
        if enabled:
            gc.enable()
    return [
        {
            "name": case.name,
            "unit": case.unit,
            "us": statistics.median(own for own, _ in found) * 1e6,
            "yardstick": case.yardstick,
            "yardstick_us": statistics.median(other for _, other in found) * 1e6,
            "ratio": statistics.median(own / other for own, other in found),
        }
        for case, found in zip(CASES, pairs, strict=True)
    ]


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as a table in Markdown."""
    lines = ["| step | unit | CPU us | yardstick | CPU us | ratio |", "|---|---|--:|---|--:|--:|"]
    lines += [
        f"| {row['name']} | {row['unit']} | {row['us']:.2f} | {row['yardstick']} "
        f"| {row['yardstick_us']:.2f} | {row['ratio']:.2f} |"
        for row in rows
    ]
    return "\n".join(lines)


def main(words: list[str]) -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m bench.micro", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few repeats, and no translation")
    options = parser.parse_args(words)
    print(table(measure_micro(7 if options.quick else 25)))
    if options.quick:
        return 0
    print()
    return translation.main([])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
