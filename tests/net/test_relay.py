"""The byte loop, with a source and a sink that are lists."""

from collections.abc import Iterator

import pytest
import trio

from rawproxy.dialects.events import Fail, Stop
from rawproxy.dialects.tally import Tally
from rawproxy.errors import UpstreamCut, UpstreamError
from rawproxy.gateway.liveness import Clocks, Due, Timing
from rawproxy.net.pump import Taker
from rawproxy.net.relay import relay


class Reads:
    """An upstream's body: reads in order; an error among them is raised, and None is no news."""

    def __init__(self, *reads: bytes | UpstreamError | None) -> None:
        self.left = list(reads)
        self.pumped = self.ended = False
        self.used_times = 0
        self._taker: Taker | None = None

    async def receive(self) -> bytes:
        while True:
            await trio.lowlevel.checkpoint()
            if (read := self.receive_now()) is not None:
                return read

    def receive_now(self) -> bytes | None:
        read = self.left.pop(0) if self.left else b""
        if isinstance(read, UpstreamError):
            raise read
        # As a socket's: an end that came with the last bytes is told by nothing that comes later.
        self.ended = not self.left
        return read

    def held(self) -> None:
        """Nothing came with the head."""

    def used(self) -> None:
        self.used_times += 1

    def take(self, taker: Taker | None) -> None:
        self._taker = taker
        self._soon()

    def _soon(self) -> None:
        if self._taker is not None:
            trio.lowlevel.current_trio_token().run_sync_soon(self._ready)

    def _ready(self) -> None:
        assert not self.ended
        if self._taker is not None:
            if (then := self._taker()) is not None:
                then(trio.current_time())
            self._soon()


class Writes:
    """A client that takes everything."""

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.framed = b"".join

    def push(self, data: bytes, now: float) -> bool:
        self.got.append(data)
        return len(self.got) % 2 == 0

    async def flush(self) -> None:
        await trio.lowlevel.checkpoint()


class Upper:
    """A pipe that shouts; `!` is its Stop."""

    losses: tuple[object, ...] = ()

    @property
    def broken(self) -> bool:
        return self.tally.failure is not None

    def __init__(self) -> None:
        self.tally = Tally()

    def feed(self, data: bytes) -> list[bytes]:
        if b"?" in data:
            self.tally.note([Fail("server", "odd")])
        if b"!" in data:
            self.tally.note([Stop("end")])
        return [data.upper()] if data.strip() else []

    def close(self) -> list[bytes]:
        raise AssertionError("the exchange closes it")

    fail = keepalive = close


@pytest.fixture(params=[False, True], autouse=True, ids=["task", "pump"])
def pumped(request: pytest.FixtureRequest) -> Iterator[bool]:
    """Every test runs with a task that reads, and with the pump."""
    global moves
    moves = request.param
    yield moves
    moves = False


moves = False


async def run(source: Reads, pipe: Upper) -> tuple[list[bytes], Clocks]:
    source.pumped = moves
    sink, clocks = Writes(), Clocks(Timing(), 30.0, trio.current_time())
    clocks.heard(trio.current_time())  # the head
    await relay(source, pipe, sink, clocks)  # type: ignore[arg-type]
    return sink.got, clocks


async def test_reads_go_through_the_pipe_in_order() -> None:
    got, clocks = await run(Reads(b"a", None, b" ", None, None, b"bc"), Upper())
    assert got == [b"A", b"BC"]
    assert clocks.due(trio.current_time() + 179) is None
    assert clocks.due(trio.current_time() + 181) is Due.SILENCE


async def test_after_stop_the_rest_has_little_time() -> None:
    _, clocks = await run(Reads(b"a!", b"b"), Upper())
    assert clocks.due(trio.current_time() + 2) is Due.TAIL


async def test_a_stop_before_the_relay_counts_too() -> None:
    pipe = Upper()
    pipe.tally.note([Stop("end")])
    _, clocks = await run(Reads(), pipe)
    assert clocks.due(trio.current_time() + 2) is Due.TAIL


async def test_after_a_told_failure_nothing_is_read() -> None:
    source = Reads(b"a", b"?", b"b")
    got, _ = await run(source, Upper())
    assert got == [b"A", b"?"]
    assert source.left == [b"b"]


async def test_an_upstreams_error_is_the_callers() -> None:
    with pytest.raises(UpstreamCut):
        await run(Reads(b"a", UpstreamCut("cut")), Upper())


async def test_what_was_used_is_told_after_it_went_on() -> None:
    source = Reads(None, b"a", b"b", b"c")
    await run(source, Upper())
    assert source.used_times == 3


async def test_a_cancel_ends_it(*, pumped: bool) -> None:
    class Endless(Reads):
        def receive_now(self) -> None:
            return None

    source = Endless()
    with trio.move_on_after(0.01):
        await run(source, Upper())
    assert source._taker is None
    assert source.pumped is pumped


async def test_a_client_that_leaves_between_a_read_and_its_send_gets_nothing() -> None:
    source, sink = Reads(b"a", b"b"), Writes()
    source.pumped = True
    clocks = Clocks(Timing(), 30.0, trio.current_time())
    with trio.CancelScope() as scope:

        def receive_now() -> bytes:
            scope.cancel()  # as another connection's taker may, which was ready at the same time
            return b"a"

        source.receive_now = receive_now  # type: ignore[method-assign]
        await relay(source, Upper(), sink, clocks)  # type: ignore[arg-type]
    assert scope.cancelled_caught
    assert sink.got == []
    assert source.used_times == 0


async def test_the_time_after_stop_begins_when_the_client_has_taken_it(
    autojump_clock: object,
) -> None:
    class Slow(Writes):
        async def flush(self) -> None:
            await trio.sleep(5)

    source = Reads(b"a!", b"")
    source.pumped = moves
    clocks = Clocks(Timing(), 30.0, trio.current_time())
    await relay(source, Upper(), Slow(), clocks)  # type: ignore[arg-type]
    assert clocks.due(trio.current_time() + 1.9) is None
    assert clocks.due(trio.current_time() + 2) is Due.TAIL
