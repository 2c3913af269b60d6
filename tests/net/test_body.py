"""A request's body: what it may take, in both versions of HTTP."""

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from rawproxy.errors import HttpError
from rawproxy.gateway.limits import Limits
from rawproxy.gateway.room import Room
from rawproxy.net.body import LATE_SECONDS, collect
from tests.net.fakes import Client, Got, Seen, whole
from tests.net.fakes_http2 import Http2Client
from tests.net.world import CHAT, MESSAGES, PATH, call, message_of, reply_body, world

LIMITS = Limits(body_seconds=10, body_rate=100, bodies_bytes=1000)


def pieces(*given: tuple[float, int]) -> Callable[[float], Awaitable[bytes]]:
    """Pieces of a body: seconds to wait, and bytes."""
    left = iter(given)

    async def receive(until: float) -> bytes:
        seconds, size = next(left, (0, 0))
        with trio.fail_at(until):
            await trio.sleep(seconds)
        return b"x" * size

    return receive


async def collected(*given: tuple[float, int]) -> int:
    """The size of the body that was made of these pieces."""
    with Room(LIMITS.bodies_bytes).share() as share:
        return len(await collect(pieces(*given), LIMITS, share))


@pytest.mark.parametrize("gap", [9.9, 10.1])
async def test_body_seconds(gap: float, autojump_clock: MockClock) -> None:
    given = ((0, 500), (gap, 500))
    if gap < 10:
        assert await collected(*given) == 1000
    else:
        with pytest.raises(HttpError, match="nothing of the request body came for 10 s") as error:
            await collected(*given)
        assert error.value.status == 408


@pytest.mark.parametrize("size", [1999, 2000, 2001])
async def test_body_rate(size: int, autojump_clock: MockClock) -> None:
    """100 bytes a second, looked at after 20 s."""
    limits = Limits(body_seconds=10, body_rate=100)
    script = pieces((9, size - 11), (9, 10), (2, 1))
    with Room(limits.bodies_bytes).share() as share:
        if size >= 2000:
            assert len(await collect(script, limits, share)) == size
        else:
            with pytest.raises(HttpError, match="slower than 100 bytes/s") as error:
                await collect(script, limits, share)
            assert error.value.status == 408


async def test_the_rate_does_not_count_at_once(autojump_clock: MockClock) -> None:
    assert await collected((9.9, 1)) == 1


@pytest.mark.parametrize("size", [999, 1000, 1001])
async def test_bodies_bytes(size: int) -> None:
    if size <= 1000:
        assert await collected((0, 500), (0, size - 500)) == size
    else:
        with pytest.raises(HttpError, match="1000 bytes together") as error:
            await collected((0, 500), (0, size - 500))
        assert (error.value.status, error.value.retry_after) == (503, 1.0)


@pytest.mark.parametrize(
    ("late", "times", "cut"),
    [
        (LATE_SECONDS - 0.1, 1, True),
        (LATE_SECONDS + 0.1, 1, False),
        (LATE_SECONDS + 0.1, 2, True),
    ],
)
async def test_one_wait_that_ends_late_is_our_own_fault(
    late: float, times: int, *, cut: bool, autojump_clock: MockClock
) -> None:
    """We stood still; where every wait ends late, somebody has to be cut all the same."""
    left = times

    async def receive(until: float) -> bytes:
        nonlocal left
        if left == 0:
            return b""
        left -= 1
        await trio.sleep_until(until)
        autojump_clock.jump(late)
        raise trio.TooSlowError

    with Room(LIMITS.bodies_bytes).share() as share:
        if cut:
            with pytest.raises(HttpError, match="nothing of the request body came for 10 s"):
                await collect(receive, LIMITS, share)
        else:
            assert await collect(receive, LIMITS, share) == b""


# -- over a connection

versions = pytest.mark.parametrize("version", [Client, Http2Client])
Version = type[Client] | type[Http2Client]


class Slow:
    """A request whose body comes in pieces, in either version."""

    def __init__(self, link: Client | Http2Client, dialect: str, size: int) -> None:
        self._link = link
        self._dialect, self._size = dialect, size
        self._number = 0
        self._asked = Client(link.stream)

    async def begin(self) -> None:
        target, length = PATH[self._dialect], str(self._size)
        if isinstance(self._link, Client):
            lines = f"POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"
            await self._link.stream.send_all(lines.encode())
        else:
            self._number = await self._link.begin("POST", target, {"content-length": length})

    async def send(self, data: bytes, *, ends: bool = False) -> None:
        if isinstance(self._link, Client):
            await self._link.stream.send_all(data)
        else:
            await self._link.send_body(self._number, data, ends=ends)

    async def response(self) -> Got:
        if isinstance(self._link, Client):
            return await self._asked.response()
        return await self._link.response(self._number)


async def holds(room: Room, size: int) -> None:
    """Return when the room holds so much."""
    with trio.fail_after(5):
        while room.taken != size:  # noqa: ASYNC110 - nobody tells
            await trio.sleep(0.001)


async def good(seen: Seen, wire: trio.SocketStream) -> None:
    await wire.send_all(whole(200, reply_body(CHAT, "fine")))


@versions
async def test_a_gap_is_cut(version: Version, autojump_clock: MockClock) -> None:
    async with world(good, limits={"body_seconds": 7}) as here:
        link = await version.connect(here.url)
        slow = Slow(link, CHAT, 1000)
        await slow.begin()
        await slow.send(b"x" * 10)
        before = trio.current_time()
        assert (await slow.response()).status == 408
        assert 7 <= trio.current_time() - before < 8
        await link.aclose()


@versions
async def test_what_came_while_we_stood_still_came_in_time(
    version: Version, autojump_clock: MockClock
) -> None:
    """As after the sleep of a machine. Neither limit strikes: not the gap's, nor the rate's."""
    body = call(CHAT)
    async with world(good) as here:
        link = await version.connect(here.url)
        slow = Slow(link, CHAT, len(body))
        await slow.begin()
        await slow.send(body[:10])
        await wait_all_tasks_blocked()
        autojump_clock.jump(100)
        await slow.send(body[10:], ends=True)
        assert (await slow.response()).status == 200
        await link.aclose()


@versions
async def test_a_dripping_body_is_cut(version: Version, autojump_clock: MockClock) -> None:
    """Never a gap, never done."""
    async with world(good) as here:
        link = await version.connect(here.url)
        slow = Slow(link, CHAT, 100_000)
        await slow.begin()
        before = trio.current_time()
        got: Got | None = None
        while got is None:
            await slow.send(b"x" * 100)
            with trio.move_on_after(1):
                got = await slow.response()
        assert got.status == 408
        assert "slower than 1000 bytes/s" in message_of(got.body)
        assert 10 < trio.current_time() - before < 12
        await link.aclose()


@versions
@pytest.mark.parametrize("dialect", [CHAT, MESSAGES])
@pytest.mark.parametrize("over", [-1, 0, 1])
async def test_bodies_of_several_share_the_room(version: Version, dialect: str, over: int) -> None:
    """What came of a body counts, and goes with its client."""
    async with world(good, dialect, limits={"body_bytes": 1000, "bodies_bytes": 1000}) as here:
        first = await version.connect(here.url)
        slow = Slow(first, dialect, 800)
        await slow.begin()
        await slow.send(b"x" * 500)
        room = here.proxy._room
        await holds(room, 500)
        body = call(dialect, stream=False, user="")
        body = call(dialect, stream=False, user="x" * (500 - len(body) + over))
        second = await version.connect(here.url)
        await second.send("POST", PATH[dialect], body)
        got = await second.response()
        assert (got.status == 503) is (over > 0)
        assert got.fields.get("retry-after") == ("1" if over > 0 else None)
        await second.aclose()
        await holds(room, 500)
        await first.aclose()
        await holds(room, 0)
