"""`python -m bench.many`: ten thousand streams at the same time on one worker, over HTTP/1.1 and HTTP/2.

All are opened first, then all are open, then they end: an upstream (the mock) writes an event to each
every few seconds. Every reply has to be whole. Told is what a stream costs in memory while all are
open, both sides of the proxy together, and what is left when they have gone.

The clients are one process of the bench's own, by hand: no library would open so many.
"""

import argparse
import json
import multiprocessing
import os
import selectors
import socket
import struct
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from bench.floods import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PREFACE,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
)
from bench.processes import Running, cpu_seconds, plan_cores, pss_bytes, raise_file_limit
from bench.rig import CALLER_KEY, Rig, open_rig

__all__ = ["main", "measure_many"]

PER_CONNECTION = 100
"""HTTP/2 streams on one connection."""

OPENING = 200
"""Streams that are opened and not answered yet, at most."""

PATIENCE_SECONDS = 300.0

SETTLE_SECONDS = 3.0

DONE = b"data: [DONE]"


def request(model: str) -> bytes:
    """Return the body that every stream asks with."""
    said = [{"role": "user", "content": "Tell me about rivers."}]
    return json.dumps({"model": model, "stream": True, "messages": said}).encode()


class Http1:
    """One stream on a connection of its own."""

    def __init__(self, port: int, body: bytes) -> None:
        self.wire = socket.create_connection(("127.0.0.1", port), 30)
        self.wire.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            b"x-api-key: %b\r\ncontent-length: %d\r\n\r\n%b"
            % (CALLER_KEY.encode(), len(body), body)
        )
        self._tail = b""
        self.begun = self.whole = 0

    def on(self, data: bytes) -> None:
        """Take what came; a stream's end is the last chunk behind the terminator."""
        self.begun = 1
        self._tail = (self._tail + data)[-64:]
        if self._tail.endswith(b"\r\n0\r\n\r\n") and DONE in self._tail:
            self.whole = 1


class Http2:
    """Many streams on one connection."""

    def __init__(self, port: int, body: bytes, streams: int) -> None:
        self.wire = socket.create_connection(("127.0.0.1", port), 30)
        window = frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 2**30))
        # The window of a stream: it never has to be opened again.
        sent = [PREFACE, frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 2**30)), window]
        block = b"\x83\x86" + _literal(4, b"/v1/chat/completions") + _literal(1, b"localhost")
        block += _literal(31, b"application/json")
        block += _literal(23, b"Bearer " + CALLER_KEY.encode())
        for at in range(streams):
            sent.append(frame(HEADERS, END_HEADERS, 2 * at + 1, block))
            sent.append(frame(DATA, END_STREAM, 2 * at + 1, body))
        self.wire.sendall(b"".join(sent))
        self._held = bytearray()
        self._begun: set[int] = set()
        self._done: set[int] = set()
        self.whole = 0

    @property
    def begun(self) -> int:
        """How many streams had an answer."""
        return len(self._begun)

    def on(self, data: bytes) -> None:
        """Take what came; a stream's end is END_STREAM behind the terminator."""
        held = self._held
        held += data
        at = 0
        while at + 9 <= len(held):
            end = at + 9 + int.from_bytes(held[at : at + 3], "big")
            if end > len(held):
                break
            kind, flags, stream = (
                held[at + 3],
                held[at + 4],
                int.from_bytes(held[at + 5 : at + 9], "big"),
            )
            if kind == SETTINGS and not flags & 1:
                self.wire.sendall(frame(SETTINGS, 1, 0))
            if kind == DATA:
                self._begun.add(stream)
                if DONE in held[at + 9 : end]:
                    self._done.add(stream)
                if flags & END_STREAM and stream in self._done:
                    self.whole += 1
            at = end
        del held[:at]


def _literal(name: int, value: bytes) -> bytes:
    """Return a field with a name of the static table, not indexed (RFC 7541 6.2.2)."""
    index = bytes([name]) if name < 15 else bytes([15, name - 15])
    return index + bytes([len(value)]) + value


class Crowd:
    """All clients, in one process.

    Attributes:
        lost: connections that ended early.
    """

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._all: list[Http1 | Http2] = []
        self._asked = 0
        self.lost = 0

    @property
    def begun(self) -> int:
        """Streams that were answered."""
        return sum(one.begun for one in self._all)

    @property
    def whole(self) -> int:
        """Streams that came to their end."""
        return sum(one.whole for one in self._all)

    def add(self, one: Http1 | Http2, streams: int) -> None:
        """Take a client in; wait while too many streams are not answered yet."""
        self._all.append(one)
        self._selector.register(one.wire, selectors.EVENT_READ, one)
        self._asked += streams
        while not self.lost and self._asked - self.begun > OPENING:
            self.turn(0.05)

    def turn(self, seconds: float) -> None:
        """Read what is there, or wait for it."""
        for key, _ in self._selector.select(seconds):
            one: Http1 | Http2 = key.data
            try:
                data = one.wire.recv(262144)
            except OSError:
                data = b""
            if data:
                one.on(data)
            else:
                self.lost += 1
            if not data or (isinstance(one, Http1) and one.whole):
                self._selector.unregister(one.wire)
                one.wire.close()

    def turn_until(self, done: Callable[[], bool]) -> None:
        """Read until `done`, or a connection is lost, or patience ends."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not done() and not self.lost and time.monotonic() < deadline:
            self.turn(0.1)


def clients(port: int, http1: int, http2: int, model: str, told: Connection) -> None:
    """Open all streams, and read them to their ends; tell how it goes."""
    raise_file_limit()
    body, crowd = request(model), Crowd()
    for _ in range(http1):
        crowd.add(Http1(port, body), 1)
    for start in range(0, http2, PER_CONNECTION):
        streams = min(PER_CONNECTION, http2 - start)
        crowd.add(Http2(port, body, streams), streams)
    crowd.turn_until(lambda: crowd.begun >= http1 + http2)
    told.send(("open", crowd.begun))
    crowd.turn_until(told.poll)
    told.recv()
    crowd.turn_until(lambda: crowd.whole >= http1 + http2)
    told.send(("whole", crowd.whole, crowd.lost))


def measure_many(
    rig: Rig, proxy: Running, http1: int, http2: int, events: int, pace: float, rest: float = 3.0
) -> dict[str, Any]:
    """Return what happened: streams open, whole and lost, bytes of memory and descriptors.

    Args:
        rig: the mock.
        proxy: what is measured.
        http1, http2: streams.
        events: of each stream.
        pace: seconds between two of them.
        rest: seconds that the proxy is left alone before it is told what it still holds.
    """
    model = f"mock-e{events}-d{int(pace * 1e6)}"
    idle, descriptors, cpu = pss_bytes(proxy.pid), _descriptors(proxy.pid), cpu_seconds(proxy.pid)
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    arguments = (proxy.port, http1, http2, model, theirs)
    process = multiprocessing.get_context("spawn").Process(target=clients, args=arguments)
    began = time.monotonic()
    process.start()
    try:
        _, begun = ours.recv()
        opened = time.monotonic() - began
        _tell(f"{begun} streams are open after {opened:.0f} s")
        time.sleep(SETTLE_SECONDS)
        held, there = pss_bytes(proxy.pid), rig.open_streams()
        _tell(
            f"{(held - idle) / (http1 + http2) / 1000:.1f} kB a stream; {there} open at the upstream"
        )
        ours.send("go on")
        _, whole, lost = ours.recv()
        _tell(f"{whole} whole, {lost} connections lost")
    finally:
        process.join(10)
        process.kill()
    time.sleep(rest)
    return {
        "http1": http1, "http2": http2, "begun": begun, "at_upstream": there, "whole": whole, "lost": lost,
        "idle_bytes": idle, "held_bytes": held, "after_bytes": pss_bytes(proxy.pid),
        "bytes_per_stream": (held - idle) / (http1 + http2), "open_seconds": opened,
        "descriptors_before": descriptors, "descriptors_after": _descriptors(proxy.pid),
        "cpu_seconds": cpu_seconds(proxy.pid) - cpu, "seconds": time.monotonic() - began,
        "events": (http1 + http2) * events,
    }  # fmt: skip


def _descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(words: list[str]) -> int:
    """Measure once and print it; 1 when a stream was not whole."""
    parser = argparse.ArgumentParser(prog="python -m bench.many", description=__doc__)
    parser.add_argument("--http1", type=int, default=4000, help="streams over HTTP/1.1")
    parser.add_argument("--http2", type=int, default=6000, help="streams over HTTP/2")
    parser.add_argument("--events", type=int, default=20, help="events of each stream")
    parser.add_argument("--pace", type=float, default=5.0, help="seconds between two of them")
    rest = "seconds of quiet before it is told what is still held; idle connections stay for 60"
    parser.add_argument("--rest", type=float, default=3.0, help=rest)
    options = parser.parse_args(words)
    raise_file_limit()
    with open_rig(plan_cores()) as rig, rig.proxy() as proxy:
        warm = measure_many(rig, proxy, 20, PER_CONNECTION if options.http2 else 0, 3, 0.1)
        _tell(f"warmed up: {warm['whole']} streams")
        found = measure_many(
            rig, proxy, options.http1, options.http2, options.events, options.pace, options.rest
        )
    print(json.dumps(found, indent=2))
    total = options.http1 + options.http2
    return 0 if found["begun"] == found["whole"] == total and not found["lost"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
