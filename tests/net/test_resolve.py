"""Names to addresses: cached, and never into the link-local range."""

import errno
import socket

import pytest
import trio
from trio.testing import MockClock

from rawproxy.errors import Exhausted, UpstreamConnectError
from rawproxy.net.resolve import NEGATIVE_SECONDS, POSITIVE_SECONDS, Address, Resolver

V4, V6 = socket.AF_INET, socket.AF_INET6


class Names:
    """A name server in a dict; counts what it was asked."""

    def __init__(self, **names: list[Address]) -> None:
        self.names = names
        self.asked: list[str] = []

    async def __call__(self, host: str, limiter: trio.CapacityLimiter) -> list[Address]:
        await trio.lowlevel.checkpoint()
        self.asked.append(host)
        if host not in self.names:
            raise socket.gaierror("no such name")
        return self.names[host]


@pytest.mark.parametrize(
    ("host", "address"), [("127.0.0.1", (V4, "127.0.0.1")), ("::1", (V6, "::1"))]
)
async def test_numeric_addresses_need_no_look_up(host: str, address: Address) -> None:
    names = Names()
    assert await Resolver(names).resolve(host) == [address]
    assert names.asked == []


@pytest.mark.parametrize(
    ("after", "asked"),
    [(POSITIVE_SECONDS - 1, 1), (POSITIVE_SECONDS, 2), (POSITIVE_SECONDS + 1, 2)],
)
async def test_answers_are_kept(after: float, asked: int, autojump_clock: MockClock) -> None:
    names = Names(a=[(V4, "192.0.2.1"), (V4, "192.0.2.1"), (V6, "2001:db8::1")])
    resolver = Resolver(names)
    assert await resolver.resolve("a") == [(V4, "192.0.2.1"), (V6, "2001:db8::1")]
    await trio.sleep(after)
    await resolver.resolve("a")
    assert len(names.asked) == asked


@pytest.mark.parametrize(
    ("after", "asked"),
    [(NEGATIVE_SECONDS - 1, 1), (NEGATIVE_SECONDS, 2), (NEGATIVE_SECONDS + 1, 2)],
)
async def test_failures_are_kept_for_less(
    after: float, asked: int, autojump_clock: MockClock
) -> None:
    names = Names()
    resolver = Resolver(names)
    for _ in range(2):
        with pytest.raises(UpstreamConnectError):
            await resolver.resolve("a")
        await trio.sleep(after)
    assert len(names.asked) == asked


@pytest.mark.parametrize("address", ["169.254.169.254", "224.0.0.1", "0.0.0.0"])
async def test_names_that_point_where_no_upstream_is(address: str) -> None:
    with pytest.raises(UpstreamConnectError):
        await Resolver(Names(a=[(V4, address)])).resolve("a")


async def test_the_system_knows_localhost() -> None:
    found = await Resolver().resolve("localhost")
    assert any(address in ("127.0.0.1", "::1") for _, address in found)


async def test_a_name_that_hangs_is_asked_for_once_and_holds_up_nobody_else() -> None:
    asked: list[str] = []

    async def hanging(host: str, limiter: trio.CapacityLimiter) -> list[Address]:
        asked.append(host)
        async with limiter:
            if host == "hangs":
                await trio.sleep_forever()
        return [(V4, "192.0.2.1")]

    resolver = Resolver(hanging)
    async with trio.open_nursery() as nursery:
        for _ in range(40):
            nursery.start_soon(resolver.resolve, "hangs")
        await trio.testing.wait_all_tasks_blocked()
        assert await resolver.resolve("fine") == [(V4, "192.0.2.1")]
        nursery.cancel_scope.cancel()
    assert asked == ["hangs", "fine"]


async def test_a_look_up_goes_on_for_others_when_its_first_caller_leaves() -> None:
    answer = trio.Event()

    async def slow(host: str, limiter: trio.CapacityLimiter) -> list[Address]:
        await answer.wait()
        return [(V4, "192.0.2.1")]

    resolver = Resolver(slow)
    with trio.move_on_after(0):
        await resolver.resolve("a")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(resolver.resolve, "a")
        await trio.testing.wait_all_tasks_blocked()
        answer.set()
    assert await resolver.resolve("a") == [(V4, "192.0.2.1")]


async def test_a_fault_of_ours_is_no_answer_and_ends_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """`can't start new thread` is a RuntimeError, and a look-up is a task that belongs to nobody."""

    async def lookup(host: str, limiter: trio.CapacityLimiter) -> list[Address]:
        raise RuntimeError("can't start new thread")

    with pytest.raises(UpstreamConnectError):
        await Resolver(lookup).resolve("example.com")
    assert "can't start new thread" in caplog.text


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS])
async def test_nothing_left_to_ask_with_is_told_and_not_kept(number: int) -> None:
    fails = True

    async def lookup(host: str, limiter: trio.CapacityLimiter) -> list[Address]:
        await trio.lowlevel.checkpoint()
        if fails:
            raise OSError(number, "none left")
        return [(V4, "192.0.2.1")]

    resolver = Resolver(lookup)
    for _ in range(2):
        with pytest.raises(Exhausted):
            await resolver.resolve("a")
    fails = False
    assert await resolver.resolve("a") == [(V4, "192.0.2.1")]


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("127.0.0.1", (V4, "127.0.0.1")),
        ("::1", (V6, "::1")),
        ("192.0.2.1", None),
        ("here", (V6, "::1")),
        ("there", None),
        ("nowhere", None),
    ],
)
async def test_addresses_of_this_machine(host: str, own: Address | None) -> None:
    """Without waiting: a name has to have been asked for."""
    resolver = Resolver(
        Names(here=[(V6, "::1"), (V4, "127.0.0.1")], there=[(V4, "192.0.2.1"), (V4, "127.0.0.1")])
    )
    assert resolver.own("here") is None
    for name in ("here", "there", "nowhere"):
        try:
            await resolver.resolve(name)
        except UpstreamConnectError:
            assert name == "nowhere"
    assert resolver.own(host) == own


@pytest.mark.parametrize(("over", "known"), [(-1, True), (0, False), (1, False)])
async def test_a_name_of_this_machine_is_known_for_a_while(
    over: float, known: bool, autojump_clock: MockClock
) -> None:
    resolver = Resolver(Names(here=[(V4, "127.0.0.1")]))
    await resolver.resolve("here")
    await trio.sleep(POSITIVE_SECONDS + over)
    assert (resolver.own("here") is not None) is known
