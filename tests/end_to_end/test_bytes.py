"""What is passed is the same to the last byte, in whatever pieces it came: recorded traffic, real sockets."""

import random
from pathlib import Path

import pytest
import trio

from tests.net.fakes import LAST_CHUNK, Client, Script, Seen, ask, chunk, head
from tests.net.world import CHAT, MESSAGES, PATH, call, world

pytestmark = pytest.mark.slow

STREAMS = [
    (CHAT, "simple"),
    (CHAT, "single_builtin_tool"),
    (CHAT, "stream_error"),
    (MESSAGES, "simple"),
    (MESSAGES, "single_builtin_tool"),
    (MESSAGES, "stream_error"),
]
REPLIES = [case for case in STREAMS if case[1] != "stream_error"]
SEEDS = range(8)

ONE_WRITE = 8192
"""Bytes; the pieces of a longer body go out in one write, as chunks all the same."""


def in_bytes(body: bytes) -> list[bytes]:
    return [body[at : at + 1] for at in range(len(body))]


def in_random_pieces(body: bytes, seed: int) -> list[bytes]:
    """Pieces of 1 to 700 bytes: parts of frames, and several of them."""
    dice = random.Random(seed)
    pieces = []
    while body:
        size = dice.randint(1, dice.choice([3, 60, 700]))
        pieces.append(body[:size])
        body = body[size:]
    return pieces


async def send_chunks(wire: trio.SocketStream, pieces: list[bytes]) -> None:
    chunks = [chunk(piece) for piece in pieces]
    for write in [b"".join(chunks)] if sum(map(len, pieces)) > ONE_WRITE else chunks:
        await wire.send_all(write)


async def streamed(dialect: str, first: list[bytes], rest: list[bytes]) -> bytes:
    """Return what a client reads of a stream whose `rest` comes once the client has its head.

    An error that came in one read with the frames before any output would be a status instead.
    """
    begun = trio.Event()

    async def script(seen: Seen, wire: trio.SocketStream) -> None:
        await wire.send_all(head())
        await send_chunks(wire, first)
        await begun.wait()
        await send_chunks(wire, rest)
        await wire.send_all(LAST_CHUNK)

    async with world(script, dialect) as here:
        client = await Client.connect(here.url)
        await client.send("POST", PATH[dialect], call(dialect))
        assert (await client.head()).status_code == 200
        begun.set()
        body = b""
        while data := await client.read():
            body += data
        await client.aclose()
        return body


def halves(stream: bytes) -> tuple[bytes, bytes]:
    """The first frame, and the others."""
    end = stream.index(b"\n\n") + 2
    return stream[:end], stream[end:]


@pytest.mark.parametrize(("dialect", "case"), STREAMS)
async def test_a_stream_in_single_bytes(dialect: str, case: str, recorded: Path) -> None:
    stream = (recorded / dialect / case / "stream.sse").read_bytes()
    first, rest = halves(stream)
    assert await streamed(dialect, in_bytes(first), in_bytes(rest)) == stream


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("dialect", "case"), STREAMS)
async def test_a_stream_in_random_pieces(
    dialect: str, case: str, seed: int, recorded: Path
) -> None:
    stream = (recorded / dialect / case / "stream.sse").read_bytes()
    first, rest = halves(stream)
    got = await streamed(dialect, in_random_pieces(first, seed), in_random_pieces(rest, seed))
    assert got == stream


def plays_body(pieces: list[bytes]) -> Script:
    async def script(seen: Seen, wire: trio.SocketStream) -> None:
        await wire.send_all(head(200, "application/json"))
        await send_chunks(wire, pieces)
        await wire.send_all(LAST_CHUNK)

    return script


@pytest.mark.parametrize("seed", [None, *SEEDS])
@pytest.mark.parametrize(("dialect", "case"), REPLIES)
async def test_a_blocking_reply(dialect: str, case: str, seed: int | None, recorded: Path) -> None:
    body = (recorded / dialect / case / "reply.json").read_bytes()
    pieces = in_bytes(body) if seed is None else in_random_pieces(body, seed)
    async with world(plays_body(pieces), dialect) as here:
        got = await ask(here.url, PATH[dialect], call(dialect, stream=False))
    assert (got.status, got.body) == (200, body)
    assert got.clean
