"""Clients that read slowly: what they hold up, and that they get every byte in the end."""

import hashlib
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

__all__ = ["SlowReader", "content_of", "digest", "reading_slowly", "request"]

RECEIVE_BUFFER = 4096
"""Bytes that the kernel may hold for such a client; it doubles them."""

READ_BYTES, PAUSE_SECONDS = 2048, 0.05

PATIENCE_SECONDS = 60.0


def request(model: str) -> bytes:
    """Return a whole request for a stream in the chat dialect, the only one of its connection."""
    said = [{"role": "user", "content": "Tell me about rivers."}]
    body = json.dumps({"model": model, "stream": True, "messages": said}).encode()
    return (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n"
        b"content-type: application/json\r\nauthorization: Bearer sk-test-0123456789abcdef\r\ncontent-length: %d\r\n\r\n%b"
        % (len(body), body)
    )


def content_of(response: bytes | bytearray) -> bytes:
    """Return the body of a response in the chunked coding.

    Raises:
        ValueError: it is no such response, or not a whole one.
    """
    head, blank, rest = bytes(response).partition(b"\r\n\r\n")
    if not blank or not head.startswith(b"HTTP/1.1 200 "):
        raise ValueError(f"no good response: {head[:200]!r}")
    parts, at = [], 0
    while True:
        line = rest.find(b"\r\n", at)
        if line < 0:
            raise ValueError(f"the body ends after {at} bytes of {len(rest)}")
        size = int(rest[at:line], 16)
        at = line + 2 + size + 2
        if at > len(rest):
            raise ValueError("the body ends within a chunk")
        if not size:
            return b"".join(parts)
        parts.append(rest[line + 2 : at - 2])


def digest(body: bytes) -> str:
    """Return a hash of the content: when its events were written is left out."""
    return hashlib.sha256(re.sub(rb"@\d{16}@", b"@@", body)).hexdigest()


class SlowReader:
    """One client with one stream.

    Attributes:
        got: what it has read of the response, head and framing too.
        ended: the server has closed.
    """

    def __init__(self, port: int, model: str) -> None:
        self.got = bytearray()
        self.ended = False
        self._wire = socket.socket()
        self._wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        self._wire.connect(("127.0.0.1", port))
        self._wire.sendall(request(model))
        self._wire.settimeout(0)

    def read(self, size: int) -> None:
        """Read at most `size` bytes that are there."""
        with suppress(BlockingIOError):
            data = self._wire.recv(size)
            self.got += data
            self.ended = not data

    def finish(self) -> None:
        """Read the rest as fast as it comes.

        Raises:
            OSError: it stopped coming, or the connection broke.
        """
        self._wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._wire.settimeout(PATIENCE_SECONDS)
        with self._wire:
            while data := self._wire.recv(1 << 20):
                self.got += data
        self.ended = True

    def close(self) -> None:
        """Leave."""
        self._wire.close()


@contextmanager
def reading_slowly(port: int, model: str, count: int) -> Iterator[list[SlowReader]]:
    """Have `count` clients read slowly while the block runs, some 40 KB a second each."""
    readers = [SlowReader(port, model) for _ in range(count)]
    stop = threading.Event()

    def turn() -> None:
        while not stop.is_set():
            began = time.monotonic()
            for one in readers:
                if not one.ended:
                    one.read(READ_BYTES)
            stop.wait(max(0.0, PAUSE_SECONDS - (time.monotonic() - began)))

    thread = threading.Thread(target=turn)
    thread.start()
    try:
        yield readers
    finally:
        stop.set()
        thread.join()
