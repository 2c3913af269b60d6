"""Rows 24 and 25: clients that leave, and clients that stop reading."""

from collections.abc import Callable

import trio

from tests.faults.answering import first, silent
from tests.faults.connecting import black_hole, named
from tests.faults.story import (
    GONE,
    HALF,
    SAID,
    STALLED,
    WHOLE,
    Case,
    Row,
    Scene,
    Sees,
    hang,
)
from tests.net.fakes import LAST_CHUNK, Got, Script, Seen, chunk, head, whole
from tests.net.fakes_http2 import Http2Client
from tests.net.world import World, delta, end, preamble, reply_body, stop

WRITE = "server.limits.write_seconds"
AT_ONCE = 0.1
"""Seconds of the proxy's own within which an upstream has to be left; the promise is one."""

BIG = 12 * 2**20
"""Bytes that no socket's buffers hold."""


async def leaves_before_asking(scene: Scene, here: World) -> Got | None:
    """While the proxy connects."""
    link = await scene.link(here)
    await scene.send(link)
    await trio.testing.wait_all_tasks_blocked()
    assert here.running == 1
    await link.aclose()
    await here.kept()
    return None


async def leaves(scene: Scene, here: World) -> Got | None:
    """When the upstream was asked; a stream: when its first half came."""
    link = await scene.link(here)
    await scene.send(link)
    await scene.asked.wait()
    if scene.notes.get("begins"):
        await link.head()
        body = b""
        while HALF.encode() not in body:
            body += await link.read()
    before = trio.current_time()
    await link.aclose()
    await scene.notes["left"].wait()
    assert trio.current_time() - before < AT_ONCE
    await here.kept()
    return None


async def gives_up(scene: Scene, here: World) -> Got | None:
    """RST_STREAM; its connection goes on."""
    link = await Http2Client.connect(here.url)
    await scene.send(link)
    await scene.asked.wait()
    before = trio.current_time()
    await link.reset(link.number)
    await scene.notes["left"].wait()
    assert trio.current_time() - before < AT_ONCE
    await here.kept()
    await link.send("GET", "/healthz")
    assert (await link.response()).status == 200
    await link.aclose()
    return None


def waits(*, begins: bool) -> Callable[[Scene], Script]:
    """Says nothing, or (a stream) half of a reply, and then waits to be left."""

    def make(scene: Scene) -> Script:
        scene.notes["left"] = left = trio.Event()
        scene.notes["begins"] = begins and scene.stream

        async def script(seen: Seen, wire: trio.SocketStream) -> None:
            if begins:
                await wire.send_all(scene.half)
            scene.asked.set()
            await hang(wire)
            left.set()

        return script

    return make


def has_ended(make: Callable[[Scene], Script]) -> Callable[[Scene], Script]:
    """All of a reply but the last chunk."""

    def made(scene: Scene) -> Script:
        scene.notes["left"] = left = trio.Event()
        dialect = scene.upstream
        body = preamble(dialect) + delta(dialect, SAID) + stop(dialect, SAID) + end(dialect)

        async def script(seen: Seen, wire: trio.SocketStream) -> None:
            await wire.send_all(head() + chunk(body))
            await hang(wire)
            left.set()

        return script

    return made


async def leaves_at_the_terminator(scene: Scene, here: World) -> Got | None:
    """As SDKs do."""
    link = await scene.link(here)
    await scene.send(link)
    await link.head()
    while SAID.encode() not in await link.read():
        pass
    await link.aclose()
    await scene.notes["left"].wait()
    await here.kept()
    return None


def tokens_so_far(scene: Scene, here: World) -> None:
    """What was said until then is counted; a guess where nobody told."""
    record = here.records[-1]
    if scene.stream:
        assert record.output_tokens is not None


# -- row 25


def big(scene: Scene) -> Script:
    """A reply without end; a blocking one has one, far away."""
    scene.notes["sent"] = 0
    piece = chunk(delta(scene.upstream, "x" * 4000))
    body = reply_body(scene.upstream, "x" * BIG)

    async def script(seen: Seen, wire: trio.SocketStream) -> None:
        if not scene.stream:
            await wire.send_all(whole(200, body))
            return
        await wire.send_all(head() + chunk(preamble(scene.upstream)))
        while True:
            await wire.send_all(piece)
            scene.notes["sent"] += len(piece)

    return script


MOVED = 5.0
"""The kernel takes its own time to fill four sockets, and while all wait for it the virtual clock jumps."""


async def reads_nothing(scene: Scene, here: World) -> Got | None:
    link = await scene.link(here)
    await scene.send(link)
    await here.kept()
    await link.aclose()
    return None


def was_paused(scene: Scene, here: World) -> None:
    """What the upstream sent sits in the buffers of four sockets; without backpressure it had no end."""
    assert scene.notes["sent"] < 64 * 2**20


def slow(scene: Scene) -> Script:
    scene.said = "x" * BIG
    body = preamble(scene.upstream) + delta(scene.upstream, "x" * BIG)
    body += stop(scene.upstream, "x" * BIG) + end(scene.upstream)

    async def script(seen: Seen, wire: trio.SocketStream) -> None:
        if scene.stream:
            await wire.send_all(head() + chunk(body) + LAST_CHUNK)
        else:
            await wire.send_all(whole(200, reply_body(scene.upstream, "x" * BIG)))

    return script


async def reads_slowly(scene: Scene, here: World) -> Got | None:
    """A little every 20 seconds: progress, however slow, is no stall."""
    link = await scene.link(here)
    await scene.send(link)
    got = await link.head()
    body = bytearray()
    pause = 0
    while data := await link.read():
        body += data
        pause += len(data)
        if pause > BIG // 8:
            pause = 0
            await trio.sleep(20)
    await link.aclose()
    return Got(got.status_code, {}, bytes(body), clean=True)


ROWS = (
    Row(
        24, "the client leaves", "its socket closes; on HTTP/2 also RST_STREAM with CANCEL",
        (
            Case(
                "while a connection is made", black_hole(), GONE, GONE, attempts=(),
                acts=leaves_before_asking,
            ),
            Case(
                "while a name is looked up", named("hangs.example"), GONE, GONE, attempts=(),
                acts=leaves_before_asking,
            ),
            Case(
                "before the answer's head", first(waits(begins=False)), GONE, GONE, attempts=(),
                acts=leaves,
            ),
            Case(
                "in the middle of a reply", first(waits(begins=True)), GONE, None, attempts=("ok",),
                acts=leaves, also=tokens_so_far,
            ),
            Case(
                "in the middle of a reply", first(waits(begins=True)), None, GONE, attempts=(),
                acts=leaves,
            ),
            Case(
                "it resets its stream, before the answer's head", first(waits(begins=False)), GONE,
                GONE, attempts=(), acts=gives_up, over=("2",),
            ),
            Case(
                "it resets its stream, in the middle of a reply", first(waits(begins=True)), GONE,
                None, attempts=("ok",), acts=gives_up, over=("2",), also=tokens_so_far,
            ),
            Case(
                "at the terminator, before the last chunk", first(has_ended(silent)),
                Sees(0, "ok", "nothing"), None, attempts=("ok",), acts=leaves_at_the_terminator,
            ),
        ),
        notes="The upstream is left within a second. With `stream.on_client_gone = \"finish\"` its reply is read "
        "on for the usage, for at most `stream.finish_seconds`.",
    ),
    Row(
        25, "the client stops reading", "it asks, and reads nothing",
        (
            Case(
                "a stream without end", first(big), STALLED, None, attempts=("ok",), limit=WRITE,
                seconds=30, slack=MOVED, acts=reads_nothing, also=was_paused,
            ),
            Case(
                "a body of 12 MiB", first(big), None, STALLED, attempts=("ok",), limit=WRITE,
                seconds=30, slack=MOVED, acts=reads_nothing,
            ),
            Case(
                "it reads slowly", first(slow), WHOLE, WHOLE, attempts=("ok",), acts=reads_slowly, slow=True,
            ),
        ),
        notes="Its upstream is paused meanwhile: nothing is read that cannot be written.",
    ),
)  # fmt: skip
