"""What each frame does, in each state of a stream and of the connection, one line a case.

A case is told in words: what the caller hears, then what goes out. It means the same however the
bytes are cut. The frames are written by hand (`h2peer`), since h2 would refuse to write most.
"""

import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rawproxy.wire.h2.stream import MAX_CONNECTION_WINDOW, STREAM_WINDOW
from rawproxy.wire.http1 import Limits
from rawproxy.wire.http2 import Http2Error, Http2Server
from tests.wire.h2peer import (
    ACK,
    CONNECT,
    END_HEADERS,
    END_STREAM,
    FRAME,
    GET,
    LIST,
    OK,
    PADDED,
    PREFACE,
    PRIORITY,
    PUSH,
    STREAMS,
    TABLE,
    WINDOW,
    Peer,
    Seen,
    asked,
    block,
    client,
    data,
    frame,
    get,
    goaway,
    headers,
    ok,
    padded,
    parts,
    ping,
    post,
    priority,
    rst,
    server,
    setting,
    window,
)

HOLE = b"\x00" * 16385
TOP = 2**31 - 1

# Section of RFC 9113, what comes, the frames after preface and SETTINGS, what comes of it.
SERVER_CASES = [
    # 4.1 and 4.2: frames
    ("4.1", "an unknown type", [frame(0x20, 0xFF, 0, b"x"), get()], "1 GET, 1 end"),
    ("4.1", "an unknown type on an idle stream", [frame(0x20, 0, 7), get()], "1 GET, 1 end"),
    ("4.1", "unknown flags", [frame("HEADERS", 0xD5, 1, block(GET))], "1 GET, 1 end"),
    ("4.1", "the reserved bit of a stream", [frame("HEADERS", 5, 2**31 + 1, block(GET))], "1 GET, 1 end"),
    ("4.2", "16,384 bytes", [post(), data(1, HOLE[1:])], "1 POST, 1 body 16384"),
    ("4.2", "16,385 bytes", [post(), data(1, HOLE)], "1 POST, broken FRAME_SIZE_ERROR, GOAWAY 1 FRAME_SIZE_ERROR"),
    ("4.2", "16,385 bytes of an unknown type", [frame(0x20, 0, 0, HOLE)], "broken FRAME_SIZE_ERROR, GOAWAY 0 FRAME_SIZE_ERROR"),
    # 4.3: header blocks
    ("4.3", "one CONTINUATION", parts(1, GET, 1), "1 GET, 1 end"),
    ("4.3", "many CONTINUATIONs", parts(1, GET, 20), "1 GET, 1 end"),
    ("4.3", "DATA between", [parts(1, GET, 1)[0], data(1, b"x")], "broken PROTOCOL_ERROR, GOAWAY 0 PROTOCOL_ERROR"),
    ("4.3", "PING between", [parts(1, GET, 1)[0], ping()], "broken PROTOCOL_ERROR, GOAWAY 0 PROTOCOL_ERROR"),
    ("4.3", "an unknown type between", [parts(1, GET, 1)[0], frame(0x20, 0, 1)], "broken PROTOCOL_ERROR, GOAWAY 0 PROTOCOL_ERROR"),
    ("4.3", "another HEADERS between", [parts(1, GET, 1)[0], get(3)], "broken PROTOCOL_ERROR, GOAWAY 0 PROTOCOL_ERROR"),
    ("4.3", "another stream's CONTINUATION", [parts(1, GET, 1)[0], parts(3, GET, 1)[1]], "broken PROTOCOL_ERROR, GOAWAY 0 PROTOCOL_ERROR"),
    ("4.3", "a block that HPACK cannot read", [frame("HEADERS", 5, 1, b"\xff\xff\xff\xff\xff\xff")], "broken COMPRESSION_ERROR, GOAWAY 0 COMPRESSION_ERROR"),
    ("4.3", "a block that ends inside a field", [frame("HEADERS", 5, 1, block(GET)[:-1])], "broken COMPRESSION_ERROR, GOAWAY 0 COMPRESSION_ERROR"),
    ("4.3", "an index that is not there", [frame("HEADERS", 5, 1, b"\xfe")], "broken COMPRESSION_ERROR, GOAWAY 0 COMPRESSION_ERROR"),
    ("4.3", "a table larger than was offered", [frame("HEADERS", 5, 1, b"\x3f\xe2\x1f" + block(GET))], "broken COMPRESSION_ERROR, GOAWAY 0 COMPRESSION_ERROR"),
    ("4.3", "a block on a stream reset by us", [headers(1, [*GET, ("A", "b")]), headers(1, [], end=True), get(3)], "3 GET, 3 end, RST 1 PROTOCOL_ERROR"),
    # 5.1: idle streams
    ("5.1", "DATA on an idle stream", [data(1, b"x")], "broken PROTOCOL_ERROR, GOAWAY 0 PROTOCOL_ERROR"),
    ("5.1", "RST_STREAM on an idle stream", [rst(1)], "broken PROTOCOL_ERROR, GOAWAY 0 PROTOCOL_ERROR"),
    ("5.1", "WINDOW_UPDATE on an idle stream", [window(1, 1)], "broken PROTOCOL_ERROR, GOAWAY 0 PROTOCOL_ERROR"),
    ("5.1", "PRIORITY on an idle stream", [priority(1), get()], "1 GET, 1 end"),
    ("5.1", "DATA on a stream of ours", [data(2, b"x")], "broken PROTOCOL_ERROR, GOAWAY 0 PROTOCOL_ERROR"),
    ("5.1", "RST_STREAM on a stream of ours", [rst(2)], "broken PROTOCOL_ERROR, GOAWAY 0 PROTOCOL_ERROR"),
    ("5.1", "WINDOW_UPDATE on a stream of ours", [window(2, 1)], "broken PROTOCOL_ERROR, GOAWAY 0 PROTOCOL_ERROR"),
    ("5.1", "CONTINUATION on an idle stream", [frame("CONTINUATION", 4, 1)], "broken PROTOCOL_ERROR, GOAWAY 0 PROTOCOL_ERROR"),
    # 5.1: half-closed (remote)
    ("5.1", "DATA after END_STREAM", [get(), data(1, b"x")], "1 GET, 1 end, 1 reset STREAM_CLOSED, RST 1 STREAM_CLOSED"),
    ("5.1", "HEADERS after END_STREAM", [get(), get()], "1 GET, 1 end, 1 reset STREAM_CLOSED, RST 1 STREAM_CLOSED"),
    ("5.1", "RST_STREAM after END_STREAM", [get(), rst(1)], "1 GET, 1 end, 1 reset CANCEL"),
    ("5.1", "WINDOW_UPDATE after END_STREAM", [get(), window(1, 9)], "1 GET, 1 end"),
    ("5.1", "PRIORITY after END_STREAM", [get(), priority(1)], "1 GET, 1 end"),
    ("5.1", "CONTINUATION after END_HEADERS", [get(), frame("CONTINUATION", 4, 1)], "1 GET, 1 end, broken PROTOCOL_ERROR, GOAWAY 1 PROTOCOL_ERROR"),
    # 5.1: closed, by the peer's RST_STREAM
    ("5.1", "DATA after its own RST_STREAM", [post(), rst(1), data(1, b"x")], "1 POST, 1 reset CANCEL, broken STREAM_CLOSED, GOAWAY 1 STREAM_CLOSED"),
    ("5.1", "HEADERS after its own RST_STREAM", [post(), rst(1), get(1), get(3)], "1 POST, 1 reset CANCEL, 3 GET, 3 end, RST 1 STREAM_CLOSED"),
    ("5.1", "RST_STREAM after its own RST_STREAM", [post(), rst(1), rst(1)], "1 POST, 1 reset CANCEL"),
    ("5.1", "WINDOW_UPDATE after its own RST_STREAM", [post(), rst(1), window(1, 1)], "1 POST, 1 reset CANCEL"),
    ("5.1", "a growth of 0 after its own RST_STREAM", [post(), rst(1), window(1, 0)], "1 POST, 1 reset CANCEL"),
    ("5.1", "PRIORITY after its own RST_STREAM", [post(), rst(1), priority(1)], "1 POST, 1 reset CANCEL"),
    # 5.1: closed, by our RST_STREAM, which the peer may not have seen
    ("5.1", "DATA after our RST_STREAM", [headers(1, GET[1:]), data(1, b"x", end=True), get(3)], "3 GET, 3 end, RST 1 PROTOCOL_ERROR"),
    ("5.1", "HEADERS after our RST_STREAM", [headers(1, GET[1:]), get(1), get(3)], "3 GET, 3 end, RST 1 PROTOCOL_ERROR"),
    ("5.1", "RST_STREAM after our RST_STREAM", [headers(1, GET[1:]), rst(1), get(3)], "3 GET, 3 end, RST 1 PROTOCOL_ERROR"),
    ("5.1", "WINDOW_UPDATE after our RST_STREAM", [headers(1, GET[1:]), window(1, 1), get(3)], "3 GET, 3 end, RST 1 PROTOCOL_ERROR"),
    # 5.1.1: numbers
    ("5.1.1", "gaps between streams", [get(5), get(99)], "5 GET, 5 end, 99 GET, 99 end"),
    ("5.1.1", "an even stream", [get(2)], "broken PROTOCOL_ERROR, GOAWAY 0 PROTOCOL_ERROR"),
    ("5.1.1", "a lower stream", [get(5), get(3)], "5 GET, 5 end, broken PROTOCOL_ERROR, GOAWAY 5 PROTOCOL_ERROR"),
    ("5.1.1", "the last stream", [get(TOP)], f"{TOP} GET, {TOP} end"),
    ("5.1.1", "stream 0", [frame("HEADERS", 5, 0, block(GET))], "broken PROTOCOL_ERROR, GOAWAY 0 PROTOCOL_ERROR"),
    # 5.3.1: priority, obsolete
    ("5.3.1", "HEADERS with a priority", [frame("HEADERS", 0x25, 1, b"\0\0\0\0\x0f" + block(GET))], "1 GET, 1 end"),
    ("5.3.1", "HEADERS that depends on itself", [frame("HEADERS", 0x25, 1, b"\0\0\0\1\x0f" + block(GET))], "RST 1 PROTOCOL_ERROR"),
    ("5.3.1", "trailers that depend on themselves", [post(), frame("HEADERS", 0x25, 1, b"\0\0\0\1\x0f")], "1 POST, 1 reset PROTOCOL_ERROR, RST 1 PROTOCOL_ERROR"),
    ("5.3.1", "PRIORITY that depends on itself", [post(), priority(1, 1)], "1 POST, 1 reset PROTOCOL_ERROR, RST 1 PROTOCOL_ERROR"),
    ("5.3.1", "that, on an idle stream", [priority(1, 1)], "broken PROTOCOL_ERROR, GOAWAY 0 PROTOCOL_ERROR"),
    ("5.3.1", "that, on a stream that is gone", [post(), rst(1), priority(1, 1)], "1 POST, 1 reset CANCEL"),
    # 6.1: DATA
    ("6.1", "DATA", [post(), data(1, b"hello"), data(1, b"!", end=True)], "1 POST, 1 body 6, 1 end"),
    ("6.1", "DATA on stream 0", [data(0, b"x")], "broken PROTOCOL_ERROR, GOAWAY 0 PROTOCOL_ERROR"),
    ("6.1", "padding", [post(), frame("DATA", PADDED, 1, padded(b"hello", 200))], "1 POST, 1 body 5"),
    ("6.1", "nothing but padding", [post(), frame("DATA", PADDED | END_STREAM, 1, padded(b"", 9))], "1 POST, 1 end"),
    ("6.1", "padding of 0", [post(), frame("DATA", PADDED, 1, padded(b"x", 0))], "1 POST, 1 body 1"),
    ("6.1", "padding longer than the frame", [post(), frame("DATA", PADDED, 1, b"\x05hell")], "1 POST, broken PROTOCOL_ERROR, GOAWAY 1 PROTOCOL_ERROR"),
    ("6.1", "padding as long as the frame", [post(), frame("DATA", PADDED, 1, b"\x04hel")], "1 POST, broken PROTOCOL_ERROR, GOAWAY 1 PROTOCOL_ERROR"),
    ("6.1", "no room for the padding's length", [post(), frame("DATA", PADDED, 1)], "1 POST, broken FRAME_SIZE_ERROR, GOAWAY 1 FRAME_SIZE_ERROR"),
    ("6.1", "an empty DATA", [post(), data(1), data(1, end=True)], "1 POST, 1 end"),
    # 6.2: HEADERS
    ("6.2", "padding", [frame("HEADERS", 5 | PADDED, 1, padded(block(GET), 50))], "1 GET, 1 end"),
    ("6.2", "padding and a priority", [frame("HEADERS", 5 | PADDED | PRIORITY, 1, padded(b"\0\0\0\0\x0f" + block(GET), 50))], "1 GET, 1 end"),
    ("6.2", "padding longer than the frame", [frame("HEADERS", 5 | PADDED, 1, b"\xff" + block(GET))], "broken PROTOCOL_ERROR, GOAWAY 0 PROTOCOL_ERROR"),
    ("6.2", "no room for the padding's length", [frame("HEADERS", 5 | PADDED, 1)], "broken FRAME_SIZE_ERROR, GOAWAY 0 FRAME_SIZE_ERROR"),
    ("6.2", "no room for the priority", [frame("HEADERS", 5 | PRIORITY, 1, b"1234")], "broken FRAME_SIZE_ERROR, GOAWAY 0 FRAME_SIZE_ERROR"),
    ("6.2", "padding where the priority should be", [frame("HEADERS", 5 | PADDED | PRIORITY, 1, padded(b"123", 3))], "broken PROTOCOL_ERROR, GOAWAY 0 PROTOCOL_ERROR"),
    # 6.3: PRIORITY
    ("6.3", "PRIORITY on stream 0", [priority(0, 1)], "broken PROTOCOL_ERROR, GOAWAY 0 PROTOCOL_ERROR"),
    ("6.3", "four bytes", [post(), frame("PRIORITY", 0, 1, b"1234")], "1 POST, 1 reset FRAME_SIZE_ERROR, RST 1 FRAME_SIZE_ERROR"),
    ("6.3", "six bytes", [post(), frame("PRIORITY", 0, 1, b"123456")], "1 POST, 1 reset FRAME_SIZE_ERROR, RST 1 FRAME_SIZE_ERROR"),
    # 6.4: RST_STREAM
    ("6.4", "RST_STREAM", [post(), rst(1, 8)], "1 POST, 1 reset CANCEL"),
    ("6.4", "RST_STREAM on stream 0", [rst(0)], "broken PROTOCOL_ERROR, GOAWAY 0 PROTOCOL_ERROR"),
    ("6.4", "three bytes", [post(), frame("RST_STREAM", 0, 1, b"123")], "1 POST, broken FRAME_SIZE_ERROR, GOAWAY 1 FRAME_SIZE_ERROR"),
    ("6.4", "five bytes", [post(), frame("RST_STREAM", 0, 1, b"12345")], "1 POST, broken FRAME_SIZE_ERROR, GOAWAY 1 FRAME_SIZE_ERROR"),
    # 6.5: SETTINGS
    ("6.5", "an acknowledgement", [setting(flags=ACK), get()], "1 GET, 1 end"),
    ("6.5", "an acknowledgement with a payload", [setting((WINDOW, 1), flags=ACK)], "broken FRAME_SIZE_ERROR, GOAWAY 0 FRAME_SIZE_ERROR"),
    ("6.5", "an acknowledgement of nothing", [setting(flags=ACK)] * 3, ""),
    ("6.5", "on a stream", [setting(stream=1)], "broken PROTOCOL_ERROR, GOAWAY 0 PROTOCOL_ERROR"),
    ("6.5", "five bytes", [frame("SETTINGS", 0, 0, b"12345")], "broken FRAME_SIZE_ERROR, GOAWAY 0 FRAME_SIZE_ERROR"),
    ("6.5.2", "a table of 0", [setting((TABLE, 0)), get()], "1 GET, 1 end"),
    ("6.5.2", "a table of 4 GiB", [setting((TABLE, 2**32 - 1)), get()], "1 GET, 1 end"),
    ("6.5.2", "push off", [setting((PUSH, 0))], ""),
    ("6.5.2", "push on", [setting((PUSH, 1))], ""),
    ("6.5.2", "push neither", [setting((PUSH, 2))], "broken PROTOCOL_ERROR, GOAWAY 0 PROTOCOL_ERROR"),
    ("6.5.2", "no streams", [setting((STREAMS, 0)), get()], "1 GET, 1 end"),
    ("6.5.2", "streams without end", [setting((STREAMS, 2**32 - 1)), get()], "1 GET, 1 end"),
    ("6.5.2", "a window of 0", [setting((WINDOW, 0)), get()], "1 GET, 1 end"),
    ("6.5.2", "a window of 2^31-1", [setting((WINDOW, TOP)), get()], "1 GET, 1 end"),
    ("6.5.2", "a window of 2^31", [setting((WINDOW, 2**31))], "broken FLOW_CONTROL_ERROR, GOAWAY 0 FLOW_CONTROL_ERROR"),
    ("6.5.2", "frames of 16,384", [setting((FRAME, 16384))], ""),
    ("6.5.2", "frames of 16,383", [setting((FRAME, 16383))], "broken PROTOCOL_ERROR, GOAWAY 0 PROTOCOL_ERROR"),
    ("6.5.2", "frames of 2^24-1", [setting((FRAME, 2**24 - 1))], ""),
    ("6.5.2", "frames of 2^24", [setting((FRAME, 2**24))], "broken PROTOCOL_ERROR, GOAWAY 0 PROTOCOL_ERROR"),
    ("6.5.2", "heads of 0 bytes", [setting((LIST, 0)), get()], "1 GET, 1 end"),
    ("8441", "extended CONNECT asked by a client", [setting((CONNECT, 1)), get()], "1 GET, 1 end"),
    ("6.5.2", "settings that do not exist", [setting((0, 1), (0xF000, 2)), get()], "1 GET, 1 end"),
    ("6.5.3", "one setting twice", [setting((WINDOW, 0), (WINDOW, 9)), get()], "1 GET, 1 end"),
    # 6.6: PUSH_PROMISE
    ("6.6", "from a client", [get(), frame("PUSH_PROMISE", 4, 1, b"\0\0\0\2" + block(GET))], "1 GET, 1 end, broken PROTOCOL_ERROR, GOAWAY 1 PROTOCOL_ERROR"),
    # 6.7: PING
    ("6.7", "PING on a stream", [ping(stream=1)], "broken PROTOCOL_ERROR, GOAWAY 0 PROTOCOL_ERROR"),
    ("6.7", "seven bytes", [ping(b"1234567")], "broken FRAME_SIZE_ERROR, GOAWAY 0 FRAME_SIZE_ERROR"),
    ("6.7", "nine bytes", [ping(b"123456789")], "broken FRAME_SIZE_ERROR, GOAWAY 0 FRAME_SIZE_ERROR"),
    ("6.7", "an answer to no question", [ping(flags=ACK), get()], "1 GET, 1 end"),
    # 6.8: GOAWAY
    ("6.8", "from a client", [get(), goaway(), get(3)], "1 GET, 1 end, 3 GET, 3 end"),
    ("6.8", "on a stream", [goaway(stream=1)], "broken PROTOCOL_ERROR, GOAWAY 0 PROTOCOL_ERROR"),
    ("6.8", "seven bytes", [frame("GOAWAY", 0, 0, b"1234567")], "broken FRAME_SIZE_ERROR, GOAWAY 0 FRAME_SIZE_ERROR"),
    ("6.8", "with words", [get(), goaway(0, 0, b"good bye")], "1 GET, 1 end"),
    # 6.9: WINDOW_UPDATE
    ("6.9", "for the connection", [window(0, 100), get()], "1 GET, 1 end"),
    ("6.9", "with the reserved bit", [window(0, 2**31 + 1), get()], "1 GET, 1 end"),
    ("6.9", "0 for the connection", [window(0, 0)], "broken PROTOCOL_ERROR, GOAWAY 0 PROTOCOL_ERROR"),
    ("6.9", "0 for a stream", [get(), window(1, 0)], "1 GET, 1 end, 1 reset PROTOCOL_ERROR, RST 1 PROTOCOL_ERROR"),
    ("6.9", "0 for an idle stream", [window(1, 0)], "broken PROTOCOL_ERROR, GOAWAY 0 PROTOCOL_ERROR"),
    ("6.9", "three bytes", [frame("WINDOW_UPDATE", 0, 0, b"123")], "broken FRAME_SIZE_ERROR, GOAWAY 0 FRAME_SIZE_ERROR"),
    ("6.9.1", "the largest window", [window(0, TOP - 65535), get()], "1 GET, 1 end"),
    ("6.9.1", "one more", [window(0, TOP - 65534)], "broken FLOW_CONTROL_ERROR, GOAWAY 0 FLOW_CONTROL_ERROR"),
    ("6.9.1", "the largest window of a stream", [get(), window(1, TOP - 65535)], "1 GET, 1 end"),
    ("6.9.1", "one more", [get(), window(1, TOP - 65534)], "1 GET, 1 end, 1 reset FLOW_CONTROL_ERROR, RST 1 FLOW_CONTROL_ERROR"),
    ("6.9.2", "a setting that makes it too large", [get(), window(1, 1), setting((WINDOW, TOP))], "1 GET, 1 end, broken FLOW_CONTROL_ERROR, GOAWAY 1 FLOW_CONTROL_ERROR"),
    ("6.9.1", "as many bytes as the window", [post(), *[data(1, bytes(16384))] * 4], "1 POST, 1 body 65536"),
    ("6.9.1", "one more", [post(), *[data(1, bytes(16384))] * 4, data(1, b"x"), get(3)], "1 POST, 1 body 65536, 1 reset FLOW_CONTROL_ERROR, 3 GET, 3 end, RST 1 FLOW_CONTROL_ERROR"),
    ("6.9.1", "padding that is one byte too much", [post(), *[data(1, bytes(16384))] * 3, data(1, bytes(16380)), frame("DATA", PADDED, 1, padded(b"x", 3)), get(3)], "1 POST, 1 body 65532, 1 reset FLOW_CONTROL_ERROR, 3 GET, 3 end, RST 1 FLOW_CONTROL_ERROR"),
    # 6.10: CONTINUATION
    ("6.10", "on stream 0", [frame("CONTINUATION", 4, 0)], "broken PROTOCOL_ERROR, GOAWAY 0 PROTOCOL_ERROR"),
    ("6.10", "after DATA", [post(), data(1, b"x"), frame("CONTINUATION", 4, 1)], "1 POST, 1 body 1, broken PROTOCOL_ERROR, GOAWAY 1 PROTOCOL_ERROR"),
    # 8.1: messages
    ("8.1", "trailers", [post(), data(1, b"hi"), headers(1, [("x-sum", "1")], end=True)], "1 POST, 1 body 2, 1 end"),
    ("8.1", "trailers in parts", [post(), *parts(1, [("x-sum", "1")], 3)], "1 POST, 1 end"),
    ("8.1", "trailers that end nothing", [post(), headers(1, [("x-sum", "1")])], "1 POST, 1 reset PROTOCOL_ERROR, RST 1 PROTOCOL_ERROR"),
    ("8.1", "trailers with a pseudo field", [post(), headers(1, [(":path", "/")], end=True)], "1 POST, 1 reset PROTOCOL_ERROR, RST 1 PROTOCOL_ERROR"),
    ("8.1", "trailers with a control character", [post(), headers(1, [("x", "\x01")], end=True)], "1 POST, 1 reset PROTOCOL_ERROR, RST 1 PROTOCOL_ERROR"),
    ("8.1", "trailers longer than a head may be", [post(), *parts(1, [("x", "y" * 33_000)], 3)], "1 POST, 1 reset PROTOCOL_ERROR, RST 1 PROTOCOL_ERROR"),
    ("8.1.1", "the length that was said", [post(1, ("content-length", "2")), data(1, b"hi", end=True)], "1 POST, 1 body 2, 1 end"),
    ("8.1.1", "more than was said", [post(1, ("content-length", "2")), data(1, b"hi!")], "1 POST, 1 reset PROTOCOL_ERROR, RST 1 PROTOCOL_ERROR"),
    ("8.1.1", "less than was said", [post(1, ("content-length", "2")), data(1, b"h", end=True)], "1 POST, 1 body 1, 1 reset PROTOCOL_ERROR, RST 1 PROTOCOL_ERROR"),
    ("8.1.1", "less than was said, then trailers", [post(1, ("content-length", "2")), headers(1, [("x", "y")], end=True)], "1 POST, 1 reset PROTOCOL_ERROR, RST 1 PROTOCOL_ERROR"),
    ("8.1.1", "nothing of what was said", [get(1, ("content-length", "2"))], "RST 1 PROTOCOL_ERROR"),
    ("8.1.1", "nothing, as was said", [get(1, ("content-length", "0"))], "1 GET, 1 end"),
    ("8.1.1", "something where nothing was said to be", [post(1, ("content-length", "0")), data(1, b"x")], "1 POST, 1 reset PROTOCOL_ERROR, RST 1 PROTOCOL_ERROR"),
    ("9110 8.6", "a length that is no number", [post(1, ("content-length", "2, 2"))], "1 refused 400"),
    # 8.2 and 8.3: a few heads; the others are in test_heads
    ("8.2.1", "a name in upper case", [get(1, ("Accept", "x")), get(3)], "3 GET, 3 end, RST 1 PROTOCOL_ERROR"),
    ("8.2.2", "connection", [get(1, ("connection", "close")), get(3)], "3 GET, 3 end, RST 1 PROTOCOL_ERROR"),
    ("8.3", "no method", [headers(1, GET[1:], end=True), get(3)], "3 GET, 3 end, RST 1 PROTOCOL_ERROR"),
    ("8.5", "CONNECT", [headers(1, [(":method", "CONNECT"), (":authority", "h:1")])], "1 refused 501"),
    ("8.5", "CONNECT, and bytes for the tunnel", [headers(1, [(":method", "CONNECT"), (":authority", "h:1")]), data(1, b"x")], "1 refused 501"),
    ("8441", "extended CONNECT", [headers(1, [*GET, (":protocol", "websocket")])], "RST 1 PROTOCOL_ERROR"),
    ("9110 15.5.14", "a request that is refused, and its body", [post(1, ("content-length", "99999999999")), data(1, b"x"), data(1, b"y", end=True)], "1 POST, 1 refused 413"),
    ("9110 15.5.16", "a compressed body", [post(1, ("content-encoding", "gzip")), data(1, b"x", end=True)], "1 POST, 1 refused 415"),
    ("9110 15.5.18", "an expectation", [post(1, ("expect", "x"))], "1 POST, 1 refused 417"),
]  # fmt: skip

# The same for our client, which has sent three requests on 1, 3 and 5 that have not ended.
BROKEN = "broken PROTOCOL_ERROR, GOAWAY 0 PROTOCOL_ERROR"
CLIENT_CASES = [
    ("8.1", "a response", [ok(), data(1, b"hi"), data(1, end=True)], "1 200, 1 body 2, 1 end"),
    ("8.1", "a response without body", [ok(end=True)], "1 200, 1 end"),
    ("8.1", "responses out of order", [ok(5, end=True), ok(1, end=True)], "5 200, 5 end, 1 200, 1 end"),
    ("8.1", "trailers", [ok(), headers(1, [("x", "y")], end=True)], "1 200, 1 end"),
    ("8.1", "trailers that end nothing", [ok(), headers(1, [("x", "y")])], "1 200, 1 reset PROTOCOL_ERROR, RST 1 PROTOCOL_ERROR"),
    ("8.1", "a second head", [ok(), ok()], "1 200, 1 reset PROTOCOL_ERROR, RST 1 PROTOCOL_ERROR"),
    ("8.1", "DATA before the head", [data(1, b"x")], "1 reset PROTOCOL_ERROR, RST 1 PROTOCOL_ERROR"),
    ("8.1", "END_STREAM before the head", [data(1, end=True)], "1 reset PROTOCOL_ERROR, RST 1 PROTOCOL_ERROR"),
    ("8.1", "an interim response", [headers(1, [(":status", "103"), ("link", "x")]), ok(end=True)], "1 200, 1 end"),
    ("8.1", "eight interim responses", [*[headers(1, [(":status", "102")])] * 8, ok(end=True)], "1 200, 1 end"),
    ("8.1", "nine", [headers(1, [(":status", "102")])] * 9, "1 reset PROTOCOL_ERROR, RST 1 PROTOCOL_ERROR"),
    ("8.1", "an interim response that ends the stream", [headers(1, [(":status", "100")], end=True)], "1 reset PROTOCOL_ERROR, RST 1 PROTOCOL_ERROR"),
    ("8.6", "101", [headers(1, [(":status", "101")])], "1 reset PROTOCOL_ERROR, RST 1 PROTOCOL_ERROR"),
    ("8.3.2", "no status", [headers(1, [("x", "y")])], "1 reset PROTOCOL_ERROR, RST 1 PROTOCOL_ERROR"),
    ("8.3.2", "no fields at all", [headers(1, [])], "1 reset PROTOCOL_ERROR, RST 1 PROTOCOL_ERROR"),
    ("8.3.2", "a status twice", [headers(1, OK * 2)], "1 reset PROTOCOL_ERROR, RST 1 PROTOCOL_ERROR"),
    ("8.3.2", "a path", [ok(1, (":path", "/"))], "1 reset PROTOCOL_ERROR, RST 1 PROTOCOL_ERROR"),
    ("8.3.2", "a status of two digits", [headers(1, [(":status", "20")])], "1 reset PROTOCOL_ERROR, RST 1 PROTOCOL_ERROR"),
    ("8.2.1", "a control character", [ok(1, ("x", "\x01"))], "1 reset PROTOCOL_ERROR, RST 1 PROTOCOL_ERROR"),
    ("6.5.2", "a head that is too long", parts(1, [*OK, ("x", "y" * 40_000)], 3, end=False), "1 reset ENHANCE_YOUR_CALM, RST 1 ENHANCE_YOUR_CALM"),
    ("8.1.1", "the length that was said", [ok(1, ("content-length", "2")), data(1, b"hi", end=True)], "1 200, 1 body 2, 1 end"),
    ("8.1.1", "less", [ok(1, ("content-length", "2")), data(1, b"h", end=True)], "1 200, 1 body 1, 1 reset PROTOCOL_ERROR, RST 1 PROTOCOL_ERROR"),
    ("8.1.1", "more", [ok(1, ("content-length", "2")), data(1, b"hi!")], "1 200, 1 reset PROTOCOL_ERROR, RST 1 PROTOCOL_ERROR"),
    ("8.1.1", "nothing", [ok(1, ("content-length", "2"), end=True)], "1 200, 1 reset PROTOCOL_ERROR, RST 1 PROTOCOL_ERROR"),
    ("8.1.1", "204 with a length", [headers(1, [(":status", "204"), ("content-length", "2")], end=True)], "1 204, 1 end"),
    ("8.1.1", "304 with the length of what it stands for", [headers(1, [(":status", "304"), ("content-length", "2")], end=True)], "1 304, 1 end"),
    ("8.1.1", "204 with a body", [headers(1, [(":status", "204")]), data(1, b"x")], "1 204, 1 reset PROTOCOL_ERROR, RST 1 PROTOCOL_ERROR"),
    ("5.1", "DATA after END_STREAM", [ok(end=True), data(1, b"x")], "1 200, 1 end, RST 1 STREAM_CLOSED"),
    ("5.1", "HEADERS after END_STREAM", [ok(end=True), ok()], "1 200, 1 end, RST 1 STREAM_CLOSED"),
    ("5.1", "RST_STREAM after END_STREAM", [ok(end=True), rst(1, 0)], "1 200, 1 end"),
    ("5.1", "HEADERS after its RST_STREAM", [rst(1), ok()], "1 reset CANCEL, broken STREAM_CLOSED, GOAWAY 0 STREAM_CLOSED"),
    ("5.1", "DATA after its RST_STREAM", [rst(1), data(1, b"x")], "1 reset CANCEL, broken STREAM_CLOSED, GOAWAY 0 STREAM_CLOSED"),
    ("5.1", "DATA after our RST_STREAM", [data(1, b"x"), data(1, b"x"), ok(3)], "1 reset PROTOCOL_ERROR, 3 200, RST 1 PROTOCOL_ERROR"),
    ("5.1", "HEADERS on an idle stream", [ok(7)], BROKEN),
    ("5.1", "DATA on an idle stream", [data(7, b"x")], BROKEN),
    ("5.1", "RST_STREAM on an idle stream", [rst(7)], BROKEN),
    ("5.1", "WINDOW_UPDATE on an idle stream", [window(7, 1)], BROKEN),
    ("5.1.1", "HEADERS on a stream of the server's", [ok(2)], BROKEN),
    ("5.1", "DATA on a stream of the server's", [data(2, b"x")], BROKEN),
    ("8.4", "PUSH_PROMISE", [frame("PUSH_PROMISE", 4, 1, b"\0\0\0\2" + block(GET))], BROKEN),
    ("6.5.2", "push on", [setting((PUSH, 1))], BROKEN),
    ("6.5.2", "push off", [setting((PUSH, 0))], ""),
    ("7", "a stream that was not taken", [rst(3, 7), ok(1)], "3 reset REFUSED_STREAM, 1 200"),
    ("7", "HTTP/1.1 is wanted", [rst(3, 13)], "3 reset HTTP_1_1_REQUIRED"),
    ("6.8", "GOAWAY below all", [goaway(0)], "1 reset REFUSED_STREAM, 3 reset REFUSED_STREAM, 5 reset REFUSED_STREAM"),
    ("6.8", "GOAWAY between", [goaway(3), ok(1, end=True), ok(3)], "5 reset REFUSED_STREAM, 1 200, 1 end, 3 200"),
    ("6.8", "GOAWAY above all", [goaway(TOP), ok(5)], "5 200"),
    ("6.8", "two GOAWAYs", [goaway(TOP), goaway(3), ok(3)], "5 reset REFUSED_STREAM, 3 200"),
    ("6.8", "GOAWAY with a reason", [goaway(1, 11, b"too_many_pings")], "3 reset REFUSED_STREAM, 5 reset REFUSED_STREAM"),
    ("6.8", "DATA for a stream that GOAWAY left out", [goaway(3), data(5, b"x")], "5 reset REFUSED_STREAM, broken STREAM_CLOSED, GOAWAY 0 STREAM_CLOSED"),
    ("6.9.1", "as many bytes as the window", [ok(), *[data(1, bytes(16384))] * 4], "1 200, 1 body 65536"),
    ("6.9.1", "one more", [ok(), *[data(1, bytes(16384))] * 4, data(1, b"x")], "1 200, 1 body 65536, 1 reset FLOW_CONTROL_ERROR, RST 1 FLOW_CONTROL_ERROR"),
]  # fmt: skip


def named(case: tuple[str, str, list[bytes], str]) -> str:
    return f"{case[0]} {case[1]}"


@pytest.mark.parametrize("case", SERVER_CASES, ids=named)
def test_what_a_server_makes_of(case: tuple[str, str, list[bytes], str]) -> None:
    _, _, frames, expected = case
    assert server().outcome(frames) == expected


@pytest.mark.parametrize("case", SERVER_CASES, ids=named)
def test_cuts_change_nothing_for_a_server(case: tuple[str, str, list[bytes], str]) -> None:
    _, _, frames, expected = case
    assert server().outcome(frames, step=1) == expected


@pytest.mark.parametrize("case", CLIENT_CASES, ids=named)
def test_what_a_client_makes_of(case: tuple[str, str, list[bytes], str]) -> None:
    _, _, frames, expected = case
    assert asked(3).outcome(frames) == expected


@pytest.mark.parametrize("case", CLIENT_CASES, ids=named)
def test_cuts_change_nothing_for_a_client(case: tuple[str, str, list[bytes], str]) -> None:
    _, _, frames, expected = case
    assert asked(3).outcome(frames, step=1) == expected


@given(st.data())
def test_any_cuts_of_any_frames_change_nothing(draw: st.DataObject) -> None:
    """Frames of several cases on one connection, right and wrong, in whatever order."""
    cases = draw.draw(st.lists(st.sampled_from(SERVER_CASES), max_size=4))
    frames = [one for case in cases for one in case[2]]
    step = draw.draw(st.integers(1, 40))
    assert server().outcome(frames, step=step) == server().outcome(frames)


PREFACES = [
    ("whole", PREFACE + setting() + get(), "1 GET, 1 end"),
    ("not begun", b"", ""),
    ("SETTINGS of its own", PREFACE + setting((WINDOW, 9)), ""),
    ("HTTP/1.1", b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", BROKEN),
    ("wrong at its end", PREFACE[:-1] + b"x" + setting(), BROKEN),
    ("no preface", setting() + get(), BROKEN),
    ("no SETTINGS", PREFACE + get(), BROKEN),
    ("PING before SETTINGS", PREFACE + ping() + setting(), BROKEN),
    ("WINDOW_UPDATE before SETTINGS", PREFACE + window(0, 9) + setting(), BROKEN),
    ("an unknown type before SETTINGS", PREFACE + frame(0x20, 0, 0) + setting(), BROKEN),
    ("an acknowledgement for SETTINGS", PREFACE + setting(flags=ACK), BROKEN),
    ("twice", PREFACE + PREFACE, "broken FRAME_SIZE_ERROR, GOAWAY 0 FRAME_SIZE_ERROR"),
]


@pytest.mark.parametrize("step", [1, 1000])
@pytest.mark.parametrize(("name", "sent", "expected"), PREFACES, ids=[case[0] for case in PREFACES])
def test_prefaces(name: str, sent: bytes, expected: str, step: int) -> None:
    """RFC 9113 3.4."""
    peer = server(settings=b"")
    peer.opening = b""
    assert peer.outcome([sent], step=step) == expected


def test_a_server_begins_with_settings() -> None:
    peer = client(settings=ok(1))
    assert peer.outcome([]) == BROKEN


def test_what_a_server_says_first() -> None:
    peer = server(limits=Limits(head_bytes=5000), streams=7)
    first, second = peer.seen
    assert [first.kind, first.stream, second.kind, second.stream] == [
        "SETTINGS",
        0,
        "WINDOW_UPDATE",
        0,
    ]
    assert pairs(first.payload) == {
        TABLE: 4096, PUSH: 0, STREAMS: 7, WINDOW: 65536, FRAME: 16384, LIST: 5000, CONNECT: 0
    }  # fmt: skip
    assert second.number == 7 * STREAM_WINDOW - 65535


def test_what_a_client_says_first() -> None:
    peer = client(limits=Limits(head_bytes=5000))
    first, second = peer.seen
    assert pairs(first.payload) == {
        TABLE: 4096, PUSH: 0, WINDOW: 65536, FRAME: 16384, LIST: 5000, CONNECT: 0
    }  # fmt: skip
    assert second.number == MAX_CONNECTION_WINDOW - 65535


def pairs(payload: bytes) -> dict[int, int]:
    return dict(struct.iter_unpack(">HL", payload))


# What goes in: windows.


def test_nothing_is_acknowledged_that_was_not_used() -> None:
    peer = server(streams=1)
    peer.send(post(), *[data(1, bytes(16384))] * 4)
    assert peer.read("WINDOW_UPDATE") == []


@pytest.mark.parametrize(("used", "opened"), [(32767, []), (32768, [32768]), (65536, [65536])])
def test_windows_open_by_halves(used: int, opened: list[int]) -> None:
    peer = server(streams=1)
    peer.send(post(), *[data(1, bytes(16384))] * 4)
    peer.side.acknowledge(1, used)
    assert grown(peer, 1) == opened
    assert grown(peer, 0) == opened


def grown(peer: Peer, stream: int) -> list[int]:
    """Return how much the window of a stream (0: of the connection) was opened, so far."""
    peer.read()
    mine = [one for one in peer.seen if one.kind == "WINDOW_UPDATE" and one.stream == stream]
    return [one.number for one in mine if one not in peer.opened]


def test_small_acknowledgements_add_up() -> None:
    peer = server(streams=1)
    peer.send(post(), *[data(1, bytes(16384))] * 4)
    for _ in range(8):
        peer.side.acknowledge(1, 4096)
    assert grown(peer, 1) == [32768]


def test_no_more_is_acknowledged_than_came() -> None:
    peer = server(streams=2)
    peer.send(post(), data(1, bytes(16384)))
    peer.side.acknowledge(1, 10**9)
    peer.side.acknowledge(1, 10**9)
    assert grown(peer, 1) == grown(peer, 0) == []
    assert "reset" not in peer.outcome([*[data(1, bytes(16384))] * 3])
    assert "reset FLOW_CONTROL_ERROR" in peer.outcome([data(1, b"x")])


def test_a_body_of_any_size_passes_when_it_is_used() -> None:
    peer = server(streams=1)
    peer.send(post())
    for _ in range(100):
        assert len(peer.send(data(1, bytes(16384)))) == 1
        peer.side.acknowledge(1, 16384)
    assert sum(grown(peer, 1)) == sum(grown(peer, 0)) == 100 * 16384


def test_a_stream_that_has_ended_opens_only_the_connection() -> None:
    peer = server(streams=1)
    peer.send(post(), *[data(1, bytes(16384))] * 3, data(1, end=True))
    peer.side.acknowledge(1, 3 * 16384)
    assert grown(peer, 1) == []
    assert grown(peer, 0) == [3 * 16384]


def test_padding_is_acknowledged_at_once() -> None:
    peer = server(streams=1)
    peer.send(post(), *[frame("DATA", PADDED, 1, padded(b"x", 250))] * 200)
    assert grown(peer, 1) == grown(peer, 0) == [131 * 251]


@pytest.mark.parametrize("streams", [1, 2, 100, 256, 1000])
def test_streams_that_stand_still_starve_no_other(streams: int) -> None:
    """All but one take what their windows allow; up to 256 streams, the last can do the same."""
    peer = server(streams=streams, settings=setting())
    most = min(streams, 256)
    for number in range(1, 2 * most, 2):
        told = peer.send(post(number), *[data(number, bytes(16384))] * 4)
        assert told == [f"{number} POST", f"{number} body 65536"]
    assert grown(peer, 0) == []


def test_the_window_of_the_connection_holds() -> None:
    peer = server(streams=1)
    peer.send(post(1), *[data(1, bytes(16384))] * 4)
    told = peer.outcome([data(1, b"x")])
    assert told == "broken FLOW_CONTROL_ERROR, GOAWAY 1 FLOW_CONTROL_ERROR"


@pytest.mark.parametrize("gone", ["reset by us", "reset by it", "refused"])
def test_what_nobody_will_use_is_acknowledged_at_once(gone: str) -> None:
    peer = server(streams=1, limits=Limits(body_bytes=65535) if gone == "refused" else None)
    peer.send(post(1), *[data(1, bytes(16384))] * 3)
    if gone == "reset by us":
        peer.side.reset(1, 8)
    if gone == "reset by it":
        peer.send(rst(1))
    if gone == "refused":
        assert peer.send(data(1, bytes(16384))) == ["1 refused 413"]
    assert sum(grown(peer, 0)) >= 3 * 16384
    assert grown(peer, 1) == []
    peer.side.acknowledge(1, 3 * 16384)
    assert grown(peer, 1) == []


def test_data_after_our_reset_is_acknowledged_to_the_connection() -> None:
    peer = server(streams=1)
    peer.send(post(1))
    peer.side.reset(1, 8)
    assert peer.outcome([data(1, bytes(16384))] * 3) == "RST 1 CANCEL"
    assert grown(peer, 0) == [32768]


def test_after_our_reset_comes_no_more_than_the_window_was() -> None:
    peer = server()
    peer.send(post(1), data(1, bytes(16384)))
    peer.side.reset(1, 8)
    assert peer.outcome([data(1, bytes(16384))] * 3) == "RST 1 CANCEL"
    assert peer.outcome([data(1, b"x")]) == "broken ENHANCE_YOUR_CALM, GOAWAY 1 ENHANCE_YOUR_CALM"


def test_small_frames_after_our_reset_fill_the_window_too() -> None:
    """They were on their way, and within the window: that is nobody's fault."""
    peer = server()
    peer.send(post(1), *[data(1, bytes(16384))] * 3, data(1, bytes(16384 - 100)))
    peer.side.reset(1, 8)
    assert peer.outcome([data(1, b"0123456789")] * 10) == "RST 1 CANCEL"


def test_streams_reset_by_us_are_forgotten_in_the_end() -> None:
    peer = server(streams=2000)
    numbers = range(1, 2 * 1026, 2)
    for number in numbers:
        peer.send(post(number))
        peer.side.reset(number, 8)
    assert peer.send(data(numbers[1], b"x")) == ["broken STREAM_CLOSED"]


# What goes out: bodies.


def test_a_body_goes_out_in_frames_of_16_kib() -> None:
    peer = asked()
    assert peer.side.body(1, bytes(40_000)) == 40_000
    assert [len(one.payload) for one in peer.read()] == [16384, 16384, 7232]


def test_a_body_goes_out_in_frames_of_16_kib_though_the_peer_takes_more() -> None:
    peer = asked(settings=setting((FRAME, 2**20)))
    peer.side.body(1, bytes(40_000))
    assert max(len(one.payload) for one in peer.read()) == 16384


def test_a_body_stops_at_the_window_of_its_stream() -> None:
    peer = asked(settings=setting((WINDOW, 10)))
    assert peer.side.body(1, bytes(11)) == 10
    assert peer.side.body(1, b"x") == 0
    peer.send(window(1, 5))
    assert peer.side.body(1, bytes(11)) == 5


def test_a_body_stops_at_the_window_of_the_connection() -> None:
    peer = asked(2, settings=setting((WINDOW, 2**20)))
    assert peer.side.body(1, bytes(70_000)) == 65535
    assert peer.side.body(3, b"x") == 0
    peer.send(window(0, 7))
    assert peer.side.body(3, bytes(9)) == 7


def test_a_window_can_shrink_below_nothing() -> None:
    """RFC 9113 6.9.2: bytes that are out already count."""
    peer = asked()
    assert peer.side.body(1, bytes(1000)) == 1000
    peer.send(setting((WINDOW, 400)))
    assert peer.side.body(1, b"x") == 0
    peer.send(window(1, 600))
    assert peer.side.body(1, b"x") == 0
    peer.send(window(1, 3))
    assert peer.side.body(1, bytes(9)) == 3


def test_a_window_grows_with_the_setting() -> None:
    peer = asked(settings=setting((WINDOW, 0)))
    assert peer.side.body(1, b"x") == 0
    peer.send(setting((WINDOW, 5)))
    assert peer.side.body(1, bytes(9)) == 5


@pytest.mark.parametrize("serves", [True, False])
def test_a_window_too_large_for_a_stream_that_has_ended(serves: bool) -> None:
    """Only the windows of streams that are open grow with the setting."""
    peer = server() if serves else asked(1)
    peer.send(get() if serves else ok(), window(1, TOP - 65535))
    if isinstance(peer.side, Http2Server):
        peer.side.head(1, 200, [], end=True)
    else:
        peer.side.end(1)
        peer.send(data(1, end=True))
    assert peer.outcome([setting((WINDOW, 65536))]) == ""


def test_a_table_that_the_peer_does_not_want() -> None:
    """RFC 7541 4.2: the next head says that the table has become smaller."""
    peer = server(settings=setting((TABLE, 0)))
    peer.decoder.max_allowed_table_size = 0
    peer.send(get(1), get(3))
    assert isinstance(peer.side, Http2Server)
    for number in (1, 3):
        peer.side.head(number, 200, [(b"a", b"b")])
        (head,) = peer.read("HEADERS")
        assert peer.fields(head) == [(b":status", b"200"), (b"a", b"b")]
    assert peer.decoder.header_table_size == 0


def test_a_table_of_ours_is_never_large() -> None:
    peer = server(settings=setting((TABLE, 2**32 - 1)))
    peer.send(*[get(number) for number in range(1, 199, 2)])
    assert isinstance(peer.side, Http2Server)
    for number in range(1, 199, 2):
        peer.side.head(number, 200, [(b"a", bytes([97 + number % 26]) * 100 + b"%d" % number)])
        peer.fields(peer.read("HEADERS")[0])
    assert peer.decoder.header_table_size == 4096


def test_a_long_head_goes_out_in_frames_of_16_kib() -> None:
    peer = server()
    peer.send(get(1))
    assert isinstance(peer.side, Http2Server)
    peer.side.head(1, 200, [(b"a", b"b" * 40_000)], end=True)
    _, *parts = peer.read()
    assert [(one.kind, one.flags) for one in parts] == [
        ("HEADERS", END_STREAM), ("CONTINUATION", 0), ("CONTINUATION", END_HEADERS),
    ]  # fmt: skip
    assert [len(one.payload) for one in parts[:2]] == [16384, 16384]
    whole = Seen("HEADERS", 5, 1, b"".join([one.payload for one in parts]))
    assert peer.fields(whole) == [(b":status", b"200"), (b"a", b"b" * 40_000)]


def test_no_bytes_are_no_frame() -> None:
    peer = asked()
    assert peer.side.body(1, b"") == 0
    assert peer.read() == []


def test_an_end_is_an_empty_frame_and_needs_no_window() -> None:
    peer = asked(settings=setting((WINDOW, 0)))
    peer.side.end(1)
    assert [(one.kind, one.ends, one.payload) for one in peer.read()] == [("DATA", True, b"")]


def test_a_stream_that_is_gone_takes_everything() -> None:
    peer = asked(2)
    peer.side.reset(1, 8)
    peer.side.end(3)
    peer.read()
    for _ in range(2):
        assert peer.side.body(1, bytes(10**6)) == 10**6
        assert peer.side.body(3, bytes(10**6)) == 10**6
        peer.side.end(1)
        peer.side.end(3)
        peer.side.reset(1, 8)
        peer.side.acknowledge(1, 10)
        peer.side.acknowledge(99, 10)
    assert peer.read() == []


@given(st.lists(st.integers(1, 30_000), max_size=20), st.lists(st.integers(1, 20_000), max_size=20))
def test_no_window_is_ever_overrun(bodies: list[int], updates: list[int]) -> None:
    peer = asked()
    room, sent = 65535, 0
    for size, update in itertools.zip_longest(bodies, updates):
        if size:
            sent += peer.side.body(1, bytes(size))
        assert sent <= room
        if update:
            room += update
            peer.send(window(1, update), window(0, update))
    assert sum(len(one.payload) for one in peer.read("DATA")) == sent


# What a connection says of itself.


def test_pings_are_answered() -> None:
    peer = server()
    peer.send(ping(b"abcdefgh"))
    assert [(one.flags, one.payload) for one in peer.read("PING")] == [(ACK, b"abcdefgh")]


def test_settings_are_acknowledged_once_each() -> None:
    peer = server()
    peer.send(setting((WINDOW, 5)), setting())
    assert [(one.flags, one.payload) for one in peer.read("SETTINGS")] == [(ACK, b"")] * 3


def test_the_oldest_ping_without_answer() -> None:
    peer = server()
    peer.send()
    seen = [peer.side.waiting_for_pong]
    peer.side.ping(5.0)
    peer.side.ping(6.0)
    first, second = [one.payload for one in peer.read("PING")]
    assert first != second
    for answers in ([], [b"unasked."], [first], [first, second]):
        peer.send(*[ping(answer, flags=ACK) for answer in answers])
        seen.append(peer.side.waiting_for_pong)
    assert seen == [None, 5.0, 5.0, 6.0, None]


def test_what_is_half_is_partial() -> None:
    peer = server()
    sides = [
        (PREFACE[:5], True),
        (PREFACE[5:], False),
        (setting()[:3], True),
        (setting()[3:], False),
    ]
    first, last = parts(1, GET, 1)
    body = data(1, b"hello")
    sides += [(first, True), (last, False), (body[:9], True), (body[9:12], True)]
    assert peer.side.unfinished is None
    for piece, partial in sides:
        peer.side.feed(piece, 0.0)
        assert (peer.side.unfinished is not None) is partial


def test_streams_are_open_until_both_ends_are_done() -> None:
    peer = server()
    peer.send(get(1), post(3), post(5))
    assert peer.side.open == 3
    peer.side.reset(5, 8)
    assert peer.side.open == 2
    peer.send(data(3, end=True))
    assert peer.side.open == 2
    peer.send(rst(3))
    assert peer.side.open == 1


def test_a_broken_connection_stays_broken() -> None:
    peer = server()
    assert peer.outcome([post(), ping(b"short")]) == (
        "1 POST, broken FRAME_SIZE_ERROR, GOAWAY 1 FRAME_SIZE_ERROR"
    )
    assert peer.side.gone
    assert peer.side.open == 0
    with pytest.raises(Http2Error, match="HTTP/2: a frame whose length is wrong") as caught:
        peer.side.feed(get(3), 0.0)
    assert caught.value.events == []
    assert caught.value.code == 6
    assert peer.side.body(1, b"x") == 1
    assert peer.side.take() == b""


@pytest.mark.parametrize("case", [case for case in SERVER_CASES if "broken" in case[3]], ids=named)
def test_no_error_quotes_what_came(case: tuple[str, str, list[bytes], str]) -> None:
    """Heads hold secrets, and h2's own messages quote them."""
    peer = server()
    with pytest.raises(Http2Error, match=r"^HTTP/2: [a-zA-Z0-9_ ,'()]+$") as caught:
        peer.side.feed(peer.opening + b"".join(case[2]), 0.0)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
