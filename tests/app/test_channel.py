"""The line between processes: messages whole and in order, secrets and sockets with them."""

import socket

import msgspec
import trio

from rawproxy.app.channel import Ask, Begin, Channel, Configure, Message, Told
from rawproxy.app.config import from_mapping
from rawproxy.app.metrics import Family
from rawproxy.app.sockets import Place

SECRET = "sk-0123456789abcdef"
CONFIG = from_mapping({
    "server": {"listen": ["127.0.0.1:0"], "workers": 2},
    "upstreams": {"far": {"provider": "openai", "keys": [SECRET]}},
    "access": {"mode": "callers", "callers": [{"name": "a", "key": SECRET}]},
})  # fmt: skip


def pair() -> tuple[Channel, Channel]:
    ours, theirs = socket.socketpair()
    return Channel(ours), Channel(theirs)


async def test_a_configuration_arrives_as_it_was() -> None:
    one, other = pair()
    await one.send(Configure(CONFIG, []))
    got = await other.receive()
    assert isinstance(got, Configure)
    assert got.config == CONFIG
    assert "" + got.config.upstreams["far"].keys[0] == SECRET
    assert SECRET not in repr(got)  # a secret again, no text
    for end in (one, other):
        end.close()


async def test_messages_come_in_order_and_whole() -> None:
    one, other = pair()
    large = Told({"a": Family("counter", "x" * 1_000_000, [("a_total", {"b": "c"}, 1.0)])})
    sent: list[Message] = [Begin("info"), large, Ask(), large, Begin("debug")]

    async def send() -> None:
        for message in sent:
            await one.send(message)
        one.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        for message in sent:
            assert await other.receive() == message
        assert await other.receive() is None
    other.close()


async def test_sockets_travel_with_their_message() -> None:
    one, other = pair()
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    places = [Place("clients", "127.0.0.1:0", turn) for turn in range(3)]
    await one.send(Configure(CONFIG, places), listeners)
    await one.send(Configure(CONFIG, places[:1]), listeners[:1])
    for count in (3, 1):
        got = await other.receive()
        assert isinstance(got, Configure)
        assert got.places == places[:count]
        copies = other.take_sockets(count)
        names = [sock.getsockname() for sock in copies]
        assert names == [sock.getsockname() for sock in listeners[:count]]
        assert not any(sock.get_inheritable() for sock in copies)
        for sock in copies:
            sock.close()
    for sock in listeners:
        sock.close()
    for end in (one, other):
        end.close()


async def test_an_end_that_is_gone_is_no_error() -> None:
    one, other = pair()
    other.close()
    await one.send(Ask())
    assert await one.receive() is None
    one.close()


async def test_half_a_message_is_none() -> None:
    ours, theirs = socket.socketpair()
    channel = Channel(theirs)
    ours.sendall(msgspec.json.encode(Ask()))
    ours.close()
    assert await channel.receive() is None
    channel.close()
