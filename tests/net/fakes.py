"""Upstreams that do as they are told, and a bare HTTP client: real sockets on loopback, no vendor."""

import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import h11
import trio

LAST_CHUNK = b"0\r\n\r\n"


@dataclass
class Seen:
    """A request that came to the upstream."""

    method: bytes
    target: bytes
    fields: list[tuple[bytes, bytes]]
    body: bytes

    def get(self, name: bytes) -> bytes | None:
        return next((value for key, value in self.fields if key == name), None)


Script = Callable[[Seen, trio.SocketStream], Awaitable[None]]


@dataclass
class FakeUpstream:
    """An upstream on a real socket; `script` answers each request, by hand."""

    script: Script
    url: str = ""
    seen: list[Seen] = field(default_factory=list)
    accepted: int = 0
    closed: int = 0

    async def _serve(self, stream: trio.SocketStream) -> None:
        self.accepted += 1
        try:
            while (request := await read_request(stream)) is not None:
                self.seen.append(request)
                await self.script(request, stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            self.closed += 1
            await trio.aclose_forcefully(stream)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["FakeUpstream"]:
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(
                partial(trio.serve_tcp, host="127.0.0.1"), self._serve, 0
            )
            port = listeners[0].socket.getsockname()[1]
            self.url = f"http://127.0.0.1:{port}"
            yield self
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def nobody_accepts() -> AsyncIterator[str]:
    """The address of a listener whose queue is full: connecting to it takes for ever."""
    with trio.socket.socket() as full:
        await full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = [trio.socket.socket() for _ in range(4)]
        async with trio.open_nursery() as nursery:
            for filler in fillers:
                nursery.start_soon(filler.connect, full.getsockname())
            yield f"http://127.0.0.1:{full.getsockname()[1]}"
            nursery.cancel_scope.cancel()
        for filler in fillers:
            filler.close()


async def read_request(stream: trio.SocketStream) -> Seen | None:
    """Read one request with a Content-Length; None at the end of the connection."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = await stream.receive_some(65536)
        if not more:
            return None
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    method, target, _ = lines[0].split(b" ")
    pairs = [line.partition(b":") for line in lines[1:]]
    fields = [(name.lower(), value.strip()) for name, _, value in pairs]
    length = int(dict(fields).get(b"content-length", b"0"))
    while len(body) < length:
        more = await stream.receive_some(65536)
        if not more:
            return None
        body += more
    return Seen(method, target, fields, body)


def head(status: int = 200, kind: str = "text/event-stream", *more: str) -> bytes:
    """A response head with chunked coding."""
    fields = [f"content-type: {kind}", "transfer-encoding: chunked", *more]
    return f"HTTP/1.1 {status} X\r\n".encode() + "\r\n".join([*fields, "", ""]).encode()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def whole(status: int, body: bytes, kind: str = "application/json", *more: str) -> bytes:
    """A whole response with a Content-Length."""
    fields = [f"content-type: {kind}", f"content-length: {len(body)}", *more]
    return f"HTTP/1.1 {status} X\r\n".encode() + "\r\n".join([*fields, "", ""]).encode() + body


def plays(*writes: bytes) -> Script:
    """A script that writes these, in order, whatever is asked."""

    async def script(seen: Seen, stream: trio.SocketStream) -> None:
        for data in writes:
            await stream.send_all(data)

    return script


def streams(body: bytes, *, piece: int = 0) -> Script:
    """A script that streams `body`, in pieces of `piece` bytes (0: all at once), and ends it cleanly."""
    size = piece or len(body) or 1
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return plays(head(), *(chunk(one) for one in pieces), LAST_CHUNK)


def reset(stream: trio.SocketStream) -> None:
    """Close with RST."""
    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()


@dataclass
class Got:
    """A response that the bare client got. `clean`: its body ended as the framing promised."""

    status: int
    fields: dict[str, str]
    body: bytes
    clean: bool


class Link(Protocol):
    """A client's connection to the proxy, whatever its HTTP version: one request after the other."""

    async def send(
        self, method: str, target: str, body: bytes = b"", fields: dict[str, str] | None = None
    ) -> None: ...

    async def head(self) -> h11.Response:
        """The head of the response, as h11 would tell it."""
        ...

    async def read(self) -> bytes:
        """The next piece of the body; b"" at its end. An unclean end raises what `UNCLEAN` lists."""
        ...

    async def rest(self) -> tuple[bytes, bool]:
        """What is left of the body, and whether it ended as the framing promised."""
        ...

    async def response(self) -> Got:
        """The whole response."""
        ...

    async def aclose(self) -> None:
        """Leave, without a word."""
        ...


UNCLEAN = (h11.RemoteProtocolError, trio.BrokenResourceError)


class Client:
    """One connection to the proxy; h11 checks everything that comes back."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._h11 = h11.Connection(h11.CLIENT)

    @classmethod
    async def connect(cls, url: str) -> "Client":
        if url.startswith("unix:"):
            sock = trio.socket.socket(socket.AF_UNIX)
            await sock.connect(url.removeprefix("unix:"))
            return cls(trio.SocketStream(sock))
        host, _, port = url.removeprefix("http://").rpartition(":")
        return cls(await trio.open_tcp_stream(host, int(port)))

    async def send(
        self, method: str, target: str, body: bytes = b"", fields: dict[str, str] | None = None
    ) -> None:
        await self.stream.send_all(self.request(method, target, body, fields))

    def request(
        self, method: str, target: str, body: bytes = b"", fields: dict[str, str] | None = None
    ) -> bytes:
        """The bytes of the next request."""
        if self._h11.our_state is h11.DONE:
            self._h11.start_next_cycle()
        given = {"host": "localhost", "content-length": str(len(body))} | (fields or {})
        if "transfer-encoding" in given:
            del given["content-length"]
        request = h11.Request(method=method, target=target, headers=list(given.items()))
        out = self._h11.send(request) or b""
        out += (self._h11.send(h11.Data(data=body)) or b"") if body else b""
        return out + (self._h11.send(h11.EndOfMessage()) or b"")

    async def event(self) -> object:
        """The next h11 event."""
        while (event := self._h11.next_event()) is h11.NEED_DATA:
            self._h11.receive_data(await self.stream.receive_some(65536))
        return event

    async def head(self) -> h11.Response:
        event = await self.event()
        assert isinstance(event, h11.Response), event
        return event

    async def read(self) -> bytes:
        """The next piece of the body; b"" at its end."""
        event = await self.event()
        if isinstance(event, h11.EndOfMessage):
            return b""
        assert isinstance(event, h11.Data), event
        return bytes(event.data)

    async def rest(self) -> tuple[bytes, bool]:
        """What is left of the body, and whether it ended as the framing promised."""
        parts: list[bytes] = []
        try:
            while data := await self.read():
                parts.append(data)
        except UNCLEAN:
            return b"".join(parts), False
        return b"".join(parts), True

    async def response(self) -> Got:
        """The whole response."""
        got = await self.head()
        body, clean = await self.rest()
        fields = {name.decode(): value.decode() for name, value in got.headers}
        return Got(got.status_code, fields, body, clean)

    async def aclose(self) -> None:
        await trio.aclose_forcefully(self.stream)


async def ask(url: str, target: str, body: bytes, fields: dict[str, str] | None = None) -> Got:
    """POST one request on a connection of its own."""
    client = await Client.connect(url)
    try:
        await client.send("POST", target, body, fields)
        return await client.response()
    finally:
        await client.aclose()
