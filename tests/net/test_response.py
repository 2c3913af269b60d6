from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock

from rawproxy.gateway.liveness import Clocks, Due, Timing
from rawproxy.net.response import ClientGone, Response
from rawproxy.wire.http import Fields, RequestHead


class Pipe:
    """Takes `room` bytes, and no more until the test makes some."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.taken = b""
        self.waits = b""

    @property
    def pending(self) -> int:
        return len(self.waits)

    def send_now(self, data: bytes) -> bool:
        self.waits += data
        self.taken += self.waits[: self.room]
        self.waits = self.waits[self.room :]
        return not self.waits

    def hold(self, data: bytes) -> None:
        self.waits += data

    async def flush_some(self) -> bool:
        await trio.Event().wait()
        return False

    def abort(self) -> None:
        self.taken += b"!"


class Plain(Response):
    """A framing that can be read at a glance."""

    def _whole(self, status: int, fields: Fields, body: bytes) -> bytes:
        return b"%d %r|" % (status, fields) + body

    def _head(self, status: int, fields: Fields) -> bytes:
        return b"%d|" % status

    def _last(self, parts: list[bytes]) -> bytes:
        return b"".join(parts) + b"."

    def watch(self, left: Callable[[], None]) -> None:
        raise AssertionError("nobody waits here")

    def unwatch(self) -> None:
        raise AssertionError("nobody waits here")


def plain(room: int = 1000, method: bytes = b"POST") -> tuple[Plain, Pipe]:
    pipe = Pipe(room)
    head = RequestHead(method, b"/", [], b"2")
    return Plain(pipe, b"".join, head, keep_alive=True, write_seconds=7), pipe


@pytest.mark.parametrize(
    ("method", "status", "written"),
    [
        (b"POST", 200, b"200 [(b'a', b'b'), (b'content-length', b'2')]|ok"),
        (b"HEAD", 200, b"200 [(b'a', b'b'), (b'content-length', b'2')]|"),
        (b"POST", 204, b"204 [(b'a', b'b')]|"),
    ],
)
async def test_an_answer_has_its_length(method: bytes, status: int, written: bytes) -> None:
    response, pipe = plain(method=method)
    await response.answer(status, [(b"a", b"b")], b"ok" if status == 200 else b"")
    assert (pipe.taken, response.flushed) == (written, True)


@pytest.mark.parametrize("over", [-1, 0, 1])
async def test_what_is_held_is_handed_over_at_once(over: int) -> None:
    """As far as it is taken: the client's clock runs for the rest, and from when it was said."""
    response, pipe = plain(room=48 + over)
    response.clocks = clocks = Clocks(Timing(), 7, 0.0)
    response.hold_answer(200, [], b"x" * 15, 1.0)
    assert (len(pipe.waits), pipe.taken, clocks.blocked_since) == (48, b"", 1.0)
    assert clocks.due(7.9) is None
    assert clocks.due(8.0) is Due.WRITE
    assert response.hand_over(2.0) == (over >= 0) == response.flushed
    assert (clocks.blocked_since is None) == (over >= 0)
    assert (
        pipe.taken[: 48 + over] == b"200 [(b'content-length', b'15')]|".ljust(48, b"x")[: 48 + over]
    )


async def test_the_end_is_held_behind_what_waits() -> None:
    response, pipe = plain(room=4)
    response.clocks = Clocks(Timing(), 7, 0.0)
    response.begin_now(200, [], [b"a"])
    response.hold_end([b"b"], 1.0)
    assert (pipe.taken, pipe.waits) == (b"200|", b"ab.")
    assert response.hand_over(2.0)
    assert pipe.taken == b"200|ab."


async def test_nothing_is_held_for_a_client_that_has_left() -> None:
    response, pipe = plain()
    response.clocks = Clocks(Timing(), 7, 0.0)
    response.gone = True
    response.hold_answer(200, [], b"ok", 1.0)
    assert response.hand_over(2.0)
    assert pipe.taken == pipe.waits == b""


async def test_an_answer_that_is_not_taken_has_a_limit(autojump_clock: MockClock) -> None:
    response, _ = plain(room=3)
    began = trio.current_time()
    with pytest.raises(ClientGone):
        await response.answer(200, [], b"ok")
    assert trio.current_time() - began == pytest.approx(7)
    assert not response.flushed
