"""Rows 13 to 16, 20 and 21: a reply that is under way."""

import ctypes
import socket
import struct
from collections.abc import Callable
from typing import Any

import trio

from tests.faults import shared
from tests.faults.answering import BROKE, first, nobody_else
from tests.faults.shared import CLOSED, far, halfway, instead
from tests.faults.story import (
    AS_IT_IS,
    HALF,
    REPAIRED,
    WHOLE,
    Act,
    Case,
    Row,
    Scene,
    Sees,
    asks,
    breaks,
    good,
    hang,
    refused,
)
from tests.net.fakes import (
    LAST_CHUNK,
    Got,
    Script,
    Seen,
    chunk,
    head,
    plays,
    reset,
    streams,
    whole,
)
from tests.net.world import (
    CHAT,
    MESSAGES,
    RESPONSES,
    World,
    delta,
    end,
    error_frame,
    preamble,
    reply_body,
    reply_stream,
    stop,
)

SILENCE = "stream.silence_seconds"
FRAME = "stream.frame_bytes"
QUIET = "the upstream fell silent"
ENDED = "the upstream's reply ended before it was whole"
NO_REPLY = "the upstream's body is not"
"""`... JSON`, or `... a message`, by who reads it."""


def half(
    then: Callable[[trio.SocketStream], object], *, output: bool = True
) -> Callable[[Scene], Script]:
    """Half of a reply, and then what `then` does once the client has it."""

    def make(scene: Scene) -> Script:
        scene.notes["waits"] = output

        async def script(seen: Seen, wire: trio.SocketStream) -> None:
            scene.asked.set()
            if output or not scene.stream:
                await wire.send_all(scene.half)
            else:
                await wire.send_all(head() + chunk(preamble(scene.upstream)))
            if scene.stream and output:
                await scene.go.wait()
            done = then(wire)
            if hasattr(done, "__await__"):
                await done

        return script

    return make


async def ends(wire: trio.SocketStream) -> None:
    """As if that were all."""
    await wire.send_all(LAST_CHUNK)


async def closes(wire: trio.SocketStream) -> None:
    """Before the last chunk."""
    await wire.aclose()


def under_way(
    how: str, then: Callable[[trio.SocketStream], object], words: str, body_words: str = ""
) -> tuple[Case, ...]:
    """A reply that breaks off: with output, and before it, with and without another candidate."""
    return (
        Case(
            f"{how}, in the middle", first(half(then)), breaks(words), None, attempts=("ok",)
        ),
        Case(
            f"{how}, in the middle, another candidate", first(half(then), spare=True),
            breaks(words), None, attempts=("ok",), also=nobody_else,
        ),
        Case(
            f"{how}, in the middle", first(half(then)), None, refused(502, body_words or words)
        ),
        Case(
            f"{how}, before output, another candidate",
            first(half(then, output=False), spare=True), WHOLE, WHOLE, attempts=("server", "ok"),
        ),
    )  # fmt: skip


# -- row 14: after Stop


def stopped(
    *, terminator: bool, then: Callable[[trio.SocketStream], object]
) -> Callable[[Scene], Script]:
    """A reply that is whole but for its end."""

    def make(scene: Scene) -> Script:
        dialect = scene.upstream
        body = preamble(dialect) + delta(dialect, "fine") + stop(dialect, "fine")
        body += end(dialect) if terminator else b""

        async def script(seen: Seen, wire: trio.SocketStream) -> None:
            await wire.send_all(head() + chunk(body))
            done = then(wire)
            if hasattr(done, "__await__"):
                await done

        return script

    return make


def after_stop(
    when: str, make: Callable[[Scene], Script], seen: Sees, seconds: float = 0.0
) -> Case:
    return Case(
        when, first(make), seen, None, attempts=("ok",), upstreams=(CHAT, MESSAGES), seconds=seconds
    )


# -- row 16: half-open


def deaf(wire: trio.SocketStream) -> None:
    """From now on the kernel drops whatever comes to this socket, and so acknowledges nothing.

    A classic BPF program of one instruction, `return 0` (socket(7), SO_ATTACH_FILTER): the peer sees
    what it sees when a cable is cut, and no privilege and no firewall is needed.
    """
    program = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
    attached = struct.pack("HL", 1, ctypes.addressof(program))
    wire.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, attached)


SO_ATTACH_FILTER = 26
"""Linux; the module `socket` does not name it."""


async def goes_deaf(wire: trio.SocketStream) -> None:
    deaf(wire)
    await trio.sleep_forever()


def deaf_at_once(scene: Scene) -> Script:
    async def script(seen: Seen, wire: trio.SocketStream) -> None:
        await goes_deaf(wire)

    return script


def deaf_in_the_pool(scene: Scene) -> Script:
    """Its first connection goes deaf once it has answered."""
    answered: list[trio.SocketStream] = []

    async def script(seen: Seen, wire: trio.SocketStream) -> None:
        await good(scene.upstream)(seen, wire)
        answered.append(wire)
        if len(answered) == 1:
            deaf(wire)

    return script


FOUND = 60.0
"""Seconds within which a peer that is gone has to be found."""


async def finds_out(scene: Scene, here: World) -> Got | None:
    with trio.fail_after(FOUND):
        return await asks(scene, here)


async def finds_out_the_second_time(scene: Scene, here: World) -> Got | None:
    await asks(scene, here)
    with trio.fail_after(FOUND):
        return await asks(scene, here)


PING = "HTTP/2 PING, 15 + 15 s"
KERNEL = "TCP keepalive 30/10/3 s, TCP_USER_TIMEOUT 30 s"


def half_open(
    when: str,
    make: Callable[[Scene], Script],
    stream: Sees | None,
    blocking: Sees | None,
    acts: Act = finds_out,
    **more: Any,
) -> Case:
    def noted(scene: Scene) -> Script:
        scene.notes["deaf"] = True
        return make(scene)

    return Case(
        when, first(noted), stream, blocking, limit=KERNEL, acts=acts, real=True,
        upstreams=(CHAT,), **more,
    )  # fmt: skip


# -- rows 20 and 21


GARBAGE = b"data: {canary garbage\n\n"


def garbage(scene: Scene) -> Script:
    dialect = scene.upstream
    if not scene.stream:
        scene.notes["body"] = b'{"canary": garbage'
        return plays(whole(200, scene.notes["body"]))
    body = preamble(dialect) + delta(dialect, "a") + GARBAGE + delta(dialect, "b")
    body += stop(dialect, "ab") + end(dialect)
    scene.notes["body"] = body
    return streams(body)


def garbage_first(scene: Scene) -> Script:
    if not scene.stream:
        return garbage(scene)
    scene.notes["body"] = body = GARBAGE + reply_stream(scene.upstream, "fine")
    return streams(body)


async def sees_no_canary(scene: Scene, here: World) -> Got | None:
    got = await asks(scene, here)
    assert got is not None
    assert b"canary" not in got.body
    return got


def counted(scene: Scene, here: World) -> None:
    assert here.records[-1].unknown_frames > 0


LIMIT = 5000
LIMITED = {"frame_bytes": LIMIT}
AROUND = {-1: "a byte below the limit", 0: "at the limit", 1: "a byte over the limit"}


def framed(over: int) -> Callable[[Scene], Script]:
    """A frame (or a body) that is `over` bytes longer than the limit."""

    def make(scene: Scene) -> Script:
        dialect = scene.upstream
        if not scene.stream:
            scene.said = "x" * (LIMIT - len(reply_body(dialect, "")) + over)
            scene.notes["body"] = body = reply_body(dialect, scene.said)
            return plays(whole(200, body))
        # The second of two line ends does not count.
        long = "x" * (LIMIT - len(delta(dialect, "")) + 1 + over)
        scene.said = "a" + long
        body = preamble(dialect) + delta(dialect, "a") + delta(dialect, long)
        body += stop(dialect) + end(dialect)  # what sums up the reply would be too long as well
        scene.notes["body"] = body
        return streams(body, piece=700)

    return make


def unobserved(scene: Scene, here: World) -> None:
    """Nobody counted: the frame that is too long was not read."""
    assert (here.records[-1].unknown_frames > 0) or not scene.stream


def frame_limit() -> list[Case]:
    cases = [
        Case(
            f"passed, {words}", first(framed(over), stream=LIMITED), AS_IT_IS,
            AS_IT_IS, attempts=("ok",), limit=FRAME, only="passed",
            also=unobserved if over > 0 else None,
        )
        for over, words in AROUND.items()
    ]  # fmt: skip
    cases += [
        Case(
            f"translated, {words}", first(framed(over), stream=LIMITED), WHOLE,
            WHOLE, attempts=("ok",), limit=FRAME, only="translated",
        )
        for over, words in AROUND.items()
        if over <= 0
    ]  # fmt: skip
    longer = first(framed(1), stream=LIMITED)
    words = "passed 5000 bytes"
    return [
        *cases,
        Case(
            f"translated, {AROUND[1]}", longer, breaks(words), None, attempts=("ok",),
            limit=FRAME, only="translated",
        ),
        Case(
            f"translated, {AROUND[1]}", longer, None, refused(502, words), limit=FRAME,
            only="translated",
        ),
    ]  # fmt: skip


def headed(size: int) -> Callable[[Scene], Script]:
    """A head with `size` bytes too many for it to be a small one."""

    def make(scene: Scene) -> Script:
        long = "x-long: " + "y" * size
        if not scene.stream:
            return plays(whole(200, reply_body(scene.upstream, "fine"), "application/json", long))
        body = chunk(reply_stream(scene.upstream, "fine"))
        return plays(head(200, "text/event-stream", long), body, LAST_CHUNK)

    return make


TINY = 100_000


def tiny(scene: Scene) -> Script:
    dialect = scene.upstream
    scene.said = "x" * TINY
    body = preamble(dialect) + delta(dialect, "x") * TINY + stop(dialect, "x" * TINY) + end(dialect)
    return streams(body, piece=65536)


async def sees_every_one(scene: Scene, here: World) -> Got | None:
    """And meanwhile a bystander is served, again and again."""
    got: list[Got | None] = []
    served = 0

    async def bystander() -> None:
        nonlocal served
        while True:
            link = await scene.link(here)
            try:
                await link.send("GET", "/healthz")
                assert (await link.response()).status == 200
            finally:
                await link.aclose()
            served += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(bystander)
        got.append(await asks(scene, here))
        nursery.cancel_scope.cancel()
    assert got[0] is not None
    assert served > 10
    return got[0]


# -- row 33: an error in place of a reply, or in the middle of it


def tells(kind: str, *, output: bool = False) -> Callable[[Scene], Script]:
    """A 200 with an error in its stream, before any output or after some."""

    def make(scene: Scene) -> Script:
        said = preamble(scene.upstream) + (delta(scene.upstream, HALF) if output else b"")
        return streams(said + error_frame(scene.upstream, kind, "it broke"))

    return make


TOO_LONG = refused(502, "the upstream's HTTP is broken")
BROKEN_FRAME = "a frame of the upstream's stream is not JSON"

ROWS = (
    Row(
        13, "the connection is reset in the middle of a reply", "SO_LINGER 0, once the client has the first half",
        (
            *under_way("reset", reset, BROKE),
            Case(
                "on HTTP/2, in the middle", far(halfway(shared.hang_up)), breaks(CLOSED), None,
                attempts=("ok",),
            ),
            Case(
                "on HTTP/2, in the middle", far(halfway(shared.hang_up)), None, refused(502, CLOSED)
            ),
        ),
    ),
    Row(
        14, "the reply ends too early", "the body ends, or its connection, before the reply is whole",
        (
            *under_way("a clean end", ends, ENDED, NO_REPLY),
            *under_way("no last chunk", closes, CLOSED),
            after_stop("after Stop: no terminator", stopped(terminator=False, then=ends), REPAIRED),
            after_stop("after Stop: no last chunk", stopped(terminator=False, then=closes), REPAIRED),
            after_stop(
                "after Stop: nothing more, 2 seconds", stopped(terminator=False, then=hang), REPAIRED, 2
            ),
            after_stop("after the terminator: no last chunk", stopped(terminator=True, then=closes), WHOLE),
        ),
        notes="After its Stop a reply is whole: what is missing is written here, and the record says `repaired`.",
    ),
    Row(
        15, "the upstream falls silent in the middle of a reply", "half of a reply, and no more",
        (
            Case(
                "in the middle", first(half(hang), stream={"silence_seconds": 35}),
                breaks(QUIET, keepalives=3), None, attempts=("ok",), limit=SILENCE, seconds=35,
            ),
            Case(
                "in the middle", first(half(hang), stream={"silence_seconds": 35}), None,
                refused(504, QUIET), attempts=("timeout",), limit=SILENCE, seconds=35,
            ),
            Case(
                "before output, another candidate",
                first(half(hang, output=False), spare=True, stream={"silence_seconds": 35}), WHOLE,
                WHOLE, attempts=("timeout", "ok"), limit=SILENCE, seconds=35,
                clients=(CHAT, MESSAGES),
            ),
            Case(
                "before output, another candidate, but a keepalive",
                first(half(hang, output=False), spare=True, stream={"silence_seconds": 35}),
                breaks(QUIET, keepalives=3), None, attempts=("timeout",), limit=SILENCE, seconds=35,
                clients=(RESPONSES,), also=nobody_else,
            ),
        ),
    ),
    Row(
        16, "the upstream is gone without a word (half-open)",
        "a socket filter that drops all that comes to the upstream: nothing is acknowledged",
        (
            half_open(
                "in the middle of a reply", half(goes_deaf), breaks(BROKE, keepalives=2), None,
                attempts=("ok",),
            ),
            half_open("in the middle of a reply", half(goes_deaf), None, refused(502, BROKE)),
            half_open(
                "before the answer's head", deaf_at_once,
                Sees(200, "failed", "broken", BROKE, keepalives=2), refused(502, BROKE),
            ),
            half_open(
                "in the pool", deaf_in_the_pool, WHOLE, WHOLE, finds_out_the_second_time,
                attempts=("ok",), exchanges=2,
            ),
            Case(
                "on HTTP/2, in the middle of a reply", far(halfway(shared.goes_deaf)),
                breaks(CLOSED, keepalives=2), None, attempts=("ok",), limit=PING, seconds=30,
            ),
            Case(
                "on HTTP/2, in the middle of a reply", far(halfway(shared.goes_deaf)), None,
                refused(502, CLOSED), limit=PING, seconds=30,
            ),
            Case(
                "on HTTP/2, before the answer's head, another candidate",
                far(instead(shared.goes_deaf, 2), spare=True), WHOLE, WHOLE,
                attempts=("server", "ok"), limit=PING, seconds=30,
            ),
        ),
        notes="The kernel finds it, after about 40 seconds; it is sooner than `stream.silence_seconds`. A connection on "
        "HTTP/2 is asked (PING) after 15 seconds of silence, and given up after 15 more.",
    ),
    Row(
        20, "a frame or a body that is none", "broken JSON in the middle of a reply",
        (
            Case("passed", first(garbage), AS_IT_IS, None, attempts=("ok",), only="passed"),
            Case(
                "passed, before output: counted", first(garbage_first), AS_IT_IS, None,
                attempts=("ok",), only="passed", also=counted,
            ),
            Case(
                "translated", first(garbage), breaks(BROKEN_FRAME), None, attempts=("ok",), only="translated",
                acts=sees_no_canary,
            ),
            Case("a body", first(garbage), None, refused(502, NO_REPLY), acts=sees_no_canary),
            Case(
                "before output, another candidate", first(garbage_first, spare=True), WHOLE, WHOLE,
                attempts=("server", "ok"), only="translated",
            ),
        ),
    ),
    Row(
        21, "more than is good", "frames and bodies at `frame_bytes`, heads at 64 KiB, 100,000 tiny frames",
        (
            *frame_limit(),
            Case("a head of 60,000 bytes", first(headed(60_000)), WHOLE, WHOLE, attempts=("ok",)),
            Case("a head of 70,000 bytes", first(headed(70_000)), TOO_LONG, TOO_LONG),
            Case(
                "100,000 tiny frames", first(tiny), WHOLE, None, attempts=("ok",),
                acts=sees_every_one, slow=True,
            ),
        ),
        notes="A frame or a body over the limit is passed in pieces, unobserved. What is held is bounded by the limit.",
    ),
    Row(
        33, "an error inside a 200", "a stream that tells an error in its dialect's form",
        (
            Case(
                "before output, another candidate", first(tells("overloaded_error"), spare=True),
                WHOLE, WHOLE, attempts=("overloaded", "ok"),
            ),
            Case(
                "before output", first(tells("server_error")), refused(500, "it broke"),
                refused(500, "it broke"),
            ),
            Case(
                "after output, another candidate",
                first(tells("server_error", output=True), spare=True), breaks("it broke"), None,
                attempts=("ok",), also=nobody_else,
            ),
        ),
    ),
)  # fmt: skip
