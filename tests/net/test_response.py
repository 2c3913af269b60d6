from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock

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


async def test_an_answer_that_is_not_taken_has_a_limit(autojump_clock: MockClock) -> None:
    response, _ = plain(room=3)
    began = trio.current_time()
    with pytest.raises(ClientGone):
        await response.answer(200, [], b"ok")
    assert trio.current_time() - began == pytest.approx(7)
    assert not response.flushed
