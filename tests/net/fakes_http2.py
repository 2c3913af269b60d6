"""HTTP/2 spoken by the h2 library, with prior knowledge on real sockets: a client, and upstreams that do as they are told."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h11
import trio

from tests.net.fakes import Got, Seen

GOAWAY = 0x7
RST = h2.errors.ErrorCodes


class StreamReset(h11.RemoteProtocolError):
    """The proxy gave the stream up; `code` as in RFC 9113 section 7."""

    def __init__(self, code: int) -> None:
        super().__init__(f"RST_STREAM {code}")
        self.code = code


class Http2Client:
    """One connection to the proxy with one request after the other, or several at once by number.

    Attributes:
        codes: of the streams that the proxy gave up.
        half: of a frame that has not come whole.
        gone: the code of the proxy's GOAWAY, once it came, and the last stream it takes.
    """

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.state = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=True, header_encoding=None)
        )
        self.gone: tuple[int, int] | None = None
        self.ended = False
        self.reads_windows = True
        """Whether windows are opened again for what was read."""
        self.settled = False
        self.codes: dict[int, int] = {}
        self.number = 0
        self.half = b""
        self._events: dict[int, list[h2.events.Event]] = {}
        self.state.initiate_connection()

    @classmethod
    async def connect(cls, url: str) -> "Http2Client":
        host, _, port = url.removeprefix("http://").rpartition(":")
        made = cls(await trio.open_tcp_stream(host, int(port)))
        await made.flush()
        return made

    async def flush(self) -> None:
        await self.stream.send_all(self.state.data_to_send())

    async def send(
        self, method: str, target: str, body: bytes = b"", fields: dict[str, str] | None = None
    ) -> None:
        """Send a request; it becomes the current one."""
        self.number = await self.begin(method, target, fields, ends=not body)
        if body:
            await self.send_body(self.number, body)

    async def begin(
        self, method: str, target: str, fields: dict[str, str] | None = None, *, ends: bool = False
    ) -> int:
        """Send a head; return the stream's number."""
        number = self._begin(method, target, fields or {}, ends=ends)
        await self.flush()
        return number

    async def send_at_once(
        self, method: str, target: str, body: bytes, fields: dict[str, str] | None = None
    ) -> None:
        """Send a whole request in one write, which its windows have to allow; it becomes the current one."""
        self.number = self._begin(method, target, fields or {}, ends=False)
        self.state.send_data(self.number, body, end_stream=True)
        await self.flush()

    def _begin(self, method: str, target: str, fields: dict[str, str], *, ends: bool) -> int:
        number = self.state.get_next_available_stream_id()
        named = {"host": "127.0.0.1", "content-type": "application/json"} | fields
        pseudo = {
            ":method": method, ":path": target, ":scheme": "http", ":authority": named.pop("host"),
        }  # fmt: skip
        pairs = [(name.lower(), value) for name, value in (pseudo | named).items()]
        self._events[number] = []
        self.state.send_headers(number, pairs, end_stream=ends)
        return number

    async def send_body(self, number: int, body: bytes, *, ends: bool = True) -> None:
        """Send a body as the windows allow."""
        while body:
            room = min(self.state.local_flow_control_window(number), 16384)
            if room <= 0:
                await self._turn()
                continue
            self.state.send_data(number, body[:room])
            body = body[room:]
            await self.flush()
        if ends:
            self.state.end_stream(number)
            await self.flush()

    async def head(self, number: int = 0) -> h11.Response:
        """The head of a response, as h11 would tell it."""
        event = await self._next(number or self.number)
        assert isinstance(event, h2.events.ResponseReceived), event
        assert event.headers is not None
        pairs = [(bytes(name), bytes(value)) for name, value in event.headers]
        status = int(dict(pairs)[b":status"])
        return h11.Response(status_code=status, headers=pairs[1:], http_version="1.1")

    async def read(self, number: int = 0) -> bytes:
        """The next piece of a body; b"" at its end."""
        number = number or self.number
        while True:
            event = await self._next(number)
            if isinstance(event, h2.events.StreamEnded):
                return b""
            if isinstance(event, h2.events.DataReceived) and event.data:
                if self.reads_windows:
                    await self.open_windows(number, event.flow_controlled_length or 0)
                return bytes(event.data)

    async def open_windows(self, number: int, size: int) -> None:
        if size and not self.ended:
            self.state.acknowledge_received_data(size, number)
            await self.flush()

    async def rest(self, number: int = 0) -> tuple[bytes, bool]:
        """What is left of a body, and whether it ended as the framing promised."""
        parts: list[bytes] = []
        try:
            while data := await self.read(number):
                parts.append(data)
        except (h11.RemoteProtocolError, trio.BrokenResourceError):
            return b"".join(parts), False
        return b"".join(parts), True

    async def response(self, number: int = 0) -> Got:
        """The whole response."""
        got = await self.head(number)
        body, clean = await self.rest(number)
        fields = {name.decode(): value.decode() for name, value in got.headers}
        return Got(got.status_code, fields, body, clean)

    async def head_of_settings(self) -> None:
        """Return when the proxy's SETTINGS have come."""
        while not self.settled:
            await self._turn()

    async def settle(self, number: int) -> None:
        """Return when the proxy has reset a stream whose response has ended."""
        with suppress(StreamReset):
            await self._next(number)

    async def reset(self, number: int, code: int = RST.CANCEL) -> None:
        """Give a request up."""
        self.state.reset_stream(number, code)
        await self.flush()

    async def drained(self) -> bytes:
        """Read until the proxy closes the connection; return what h2 did not see (nothing, normally)."""
        while not self.ended:
            await self._turn()
        return b""

    async def aclose(self) -> None:
        """Leave, without a word."""
        await trio.aclose_forcefully(self.stream)

    async def _next(self, number: int) -> h2.events.Event:
        while not self._events[number]:
            if self.ended:
                raise trio.BrokenResourceError("the proxy closed the connection")
            await self._turn()
        event = self._events[number].pop(0)
        if isinstance(event, h2.events.StreamReset):
            self.codes[number] = int(event.error_code or 0)
            raise StreamReset(self.codes[number])
        return event

    async def _turn(self) -> None:
        """Read once."""
        try:
            data = await self.stream.receive_some(65536)
        except trio.BrokenResourceError:
            data = b""
        if not data:
            self.ended = True
            return
        for event in self.state.receive_data(_without_goaway(self, data)):
            self.settled |= isinstance(event, h2.events.RemoteSettingsChanged)
            number = getattr(event, "stream_id", None)
            if number in self._events and not isinstance(event, h2.events.WindowUpdated):
                self._events[number].append(event)
        with_reply = self.state.data_to_send()
        if with_reply:
            await self.stream.send_all(with_reply)


def _without_goaway(client: Http2Client, data: bytes) -> bytes:
    """Take GOAWAY out: h2 would take no more frames of the streams that go on (RFC 9113 6.8).

    What is left of an unfinished frame waits in `client.half`.
    """
    kept, at = b"", 0
    data = client.half + data
    while at + 9 <= len(data):
        end = at + 9 + int.from_bytes(data[at : at + 3], "big")
        if end > len(data):
            break
        if data[at + 3] == GOAWAY:
            last = int.from_bytes(data[at + 9 : at + 13], "big")
            client.gone = int.from_bytes(data[at + 13 : at + 17], "big"), last
        else:
            kept += data[at:end]
        at = end
    client.half = data[at:]
    return kept


@dataclass
class Stream:
    """One request at a fake upstream, and what to answer."""

    peer: "Peer"
    number: int
    seen: Seen
    reset_code: int | None = None

    async def head(self, status: int = 200, kind: str = "text/event-stream", **more: str) -> None:
        fields = {":status": str(status), "content-type": kind} | more
        self.peer.state.send_headers(self.number, list(fields.items()))
        await self.peer.flush()

    async def data(self, data: bytes, *, ends: bool = False) -> None:
        while data:
            room = min(self.peer.state.local_flow_control_window(self.number), 16384)
            if room <= 0:
                await self.peer.moved.park()
                continue
            self.peer.state.send_data(self.number, data[:room])
            data = data[room:]
            await self.peer.flush()
        if ends:
            self.peer.state.end_stream(self.number)
            await self.peer.flush()

    async def reset(self, code: int) -> None:
        self.peer.state.reset_stream(self.number, code)
        await self.peer.flush()


Script = Callable[[Stream], Awaitable[None]]


@dataclass
class Peer:
    """One connection of the proxy to a fake upstream; a deaf one neither hears nor answers."""

    stream: trio.SocketStream
    state: h2.connection.H2Connection
    moved: trio.lowlevel.ParkingLot = field(default_factory=trio.lowlevel.ParkingLot)
    pings: int = 0
    deaf: bool = False
    lock: trio.Lock = field(default_factory=trio.Lock)

    async def flush(self) -> None:
        async with self.lock:
            if data := self.state.data_to_send():
                await self.stream.send_all(data)

    async def goaway(self, last: int, code: int = 0) -> None:
        """Say by hand that no stream above `last` is taken: h2 itself could not go on after it."""
        frame = (8).to_bytes(3, "big") + bytes([GOAWAY, 0]) + bytes(4)
        await self.raw(frame + last.to_bytes(4, "big") + code.to_bytes(4, "big"))

    async def raw(self, data: bytes) -> None:
        """Send bytes that h2 knows nothing of."""
        await self.flush()
        async with self.lock:
            await self.stream.send_all(data)


@dataclass
class Http2Upstream:
    """An upstream that speaks HTTP/2; `script` answers each request.

    Attributes:
        most: streams at once that it allows.
    """

    script: Script
    most: int = 100
    url: str = ""
    seen: list[Seen] = field(default_factory=list)
    peers: list[Peer] = field(default_factory=list)
    resets: list[int] = field(default_factory=list)
    accepted: int = 0
    closed: int = 0

    async def _serve(self, stream: trio.SocketStream) -> None:
        self.accepted += 1
        config = h2.config.H2Configuration(client_side=False, header_encoding=None)
        peer = Peer(stream, h2.connection.H2Connection(config))
        self.peers.append(peer)
        peer.state.local_settings.max_concurrent_streams = self.most
        peer.state.local_settings.acknowledge()
        peer.state.initiate_connection()
        open_streams: dict[int, Stream] = {}
        try:
            await peer.flush()
            async with trio.open_nursery() as nursery:
                while data := await stream.receive_some(65536):
                    if peer.deaf:
                        continue
                    for event in peer.state.receive_data(data):
                        self._on(event, peer, open_streams, nursery)
                    peer.moved.unpark_all()
                    await peer.flush()
                nursery.cancel_scope.cancel()
        except* (trio.BrokenResourceError, trio.ClosedResourceError, h2.exceptions.ProtocolError):
            pass
        finally:
            self.closed += 1
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(stream)

    def _on(
        self,
        event: h2.events.Event,
        peer: Peer,
        streams: dict[int, Stream],
        nursery: trio.Nursery,
    ) -> None:
        match event:
            case h2.events.RequestReceived(stream_id=int(number), headers=list(pairs)):
                found = {bytes(name): bytes(value) for name, value in pairs}
                fields = [(bytes(name), bytes(value)) for name, value in pairs]
                seen = Seen(found[b":method"], found[b":path"], fields, b"")
                streams[number] = Stream(peer, number, seen)
            case h2.events.DataReceived(stream_id=int(number), data=bytes(data)):
                streams[number].seen.body += data
                peer.state.acknowledge_received_data(event.flow_controlled_length or 0, number)
            case h2.events.StreamEnded(stream_id=int(number)):
                self.seen.append(streams[number].seen)
                nursery.start_soon(self._answer, streams[number])
            case h2.events.StreamReset(stream_id=int(number)):
                self.resets.append(int(event.error_code or 0))
                streams[number].reset_code = int(event.error_code or 0)
            case h2.events.PingReceived():
                peer.pings += 1

    async def _answer(self, stream: Stream) -> None:
        with suppress(
            h2.exceptions.ProtocolError, trio.BrokenResourceError, trio.ClosedResourceError
        ):
            await self.script(stream)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Http2Upstream"]:
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(
                partial(trio.serve_tcp, host="127.0.0.1"), self._serve, 0
            )
            self.url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
            yield self
            nursery.cancel_scope.cancel()
