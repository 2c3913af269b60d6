"""Upstreams that speak HTTP/2, and rows 17 to 19: they give up a stream, or their connection."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import trio

from rawproxy.net.mux import CANCEL, INTERNAL_ERROR, NO_ERROR, REFUSED_STREAM
from rawproxy.wire.h2.frames import LAST_STREAM
from tests.faults.story import (
    HALF,
    REPAIRED,
    SAID,
    WHOLE,
    Act,
    Case,
    Check,
    Fault,
    Row,
    Scene,
    asks,
    asks_twice,
    breaks,
    good,
    refused,
)
from tests.net.fakes import Got, plays
from tests.net.fakes_http2 import Http2Upstream, Script, Stream
from tests.net.world import (
    CHAT,
    MESSAGES,
    World,
    delta,
    end,
    preamble,
    reply_body,
    reply_stream,
    stop,
    world,
)

ENHANCE_YOUR_CALM = 0xB
"""RFC 9113 section 7."""


def far(make: Callable[[Scene], Script], *, spare: bool = False, **more: Any) -> Fault:
    """As `first`: an upstream that speaks HTTP/2 is asked first."""

    @asynccontextmanager
    async def fault(scene: Scene) -> AsyncIterator[World]:
        scripts = {"bad": plays()} | ({"up": good(scene.upstream)} if spare else {})
        async with Http2Upstream(make(scene)).running() as there:
            options = {"bad": {"base_url": f"{there.url}/v1", "http2": "prior_knowledge"}}
            async with world(scripts, scene.upstream, options=options, **more) as here:
                here.upstreams["bad"] = there
                yield here

    return fault


# -- what it does


def kind(scene: Scene) -> str:
    return "text/event-stream" if scene.stream else "application/json"


def parts(scene: Scene) -> tuple[bytes, bytes]:
    """A reply in two halves; the client of a stream sees HALF at the end of the first one."""
    dialect = scene.upstream
    if scene.stream:
        rest = SAID.removeprefix(BEGINNING)
        first = preamble(dialect) + delta(dialect, BEGINNING)
        return first, delta(dialect, rest) + stop(dialect, SAID) + end(dialect)
    body = reply_body(dialect, SAID)
    return body[: len(body) // 2], body[len(body) // 2 :]


BEGINNING = SAID[:2]


async def well(scene: Scene, stream: Stream) -> None:
    """Answer."""
    await stream.head(kind=kind(scene))
    body = reply_stream if scene.stream else reply_body
    await stream.data(body(scene.upstream, SAID), ends=True)


async def half(scene: Scene, stream: Stream) -> None:
    """Begin to answer; return when the client of a stream has that."""
    await stream.head(kind=kind(scene))
    if scene.stream:
        await stream.data(preamble(scene.upstream) + delta(scene.upstream, HALF))
        await scene.go.wait()
    else:
        await stream.data(reply_body(scene.upstream, HALF)[:20])


Breaks = Callable[[Stream], Awaitable[object]]


def rst(code: int) -> Breaks:
    """RST_STREAM."""

    async def breaks_off(stream: Stream) -> None:
        await stream.reset(code)

    return breaks_off


def goaway(last: int, code: int = NO_ERROR) -> Breaks:
    """GOAWAY, by which no stream above `last` is taken."""

    async def breaks_off(stream: Stream) -> None:
        await stream.peer.goaway(last, code)

    return breaks_off


async def hang_up(stream: Stream) -> None:
    """Close the connection with all that runs on it."""
    await trio.aclose_forcefully(stream.peer.stream)


async def goes_deaf(stream: Stream) -> None:
    """Hear nothing more, PINGs above all."""
    stream.peer.deaf = True


def halfway(then: Breaks) -> Callable[[Scene], Script]:
    """Half of a reply, and then what `then` does once the client has it."""

    def make(scene: Scene) -> Script:
        scene.notes["waits"] = True

        async def script(stream: Stream) -> None:
            await half(scene, stream)
            await then(stream)

        return script

    return make


def instead(then: Breaks, times: int = 1) -> Callable[[Scene], Script]:
    """What `then` does takes the place of the first `times` answers."""

    def make(scene: Scene) -> Script:
        asked = 0

        async def script(stream: Stream) -> None:
            nonlocal asked
            asked += 1
            if asked <= times:
                await then(stream)
            else:
                await well(scene, stream)

        return script

    return make


def second(then: Breaks) -> Callable[[Scene], Script]:
    """What `then` does takes the place of the second answer."""

    def make(scene: Scene) -> Script:
        asked = 0

        async def script(stream: Stream) -> None:
            nonlocal asked
            asked += 1
            await (then(stream) if asked == 2 else well(scene, stream))

        return script

    return make


def after(then: Breaks, *, whole: bool) -> Callable[[Scene], Script]:
    """A reply that has said its Stop; `whole`: all of it and its end."""

    def make(scene: Scene) -> Script:
        dialect = scene.upstream

        async def script(stream: Stream) -> None:
            if whole:
                await well(scene, stream)
            else:
                await stream.head()
                await stream.data(preamble(dialect) + delta(dialect, SAID) + stop(dialect, SAID))
            with suppress(ValueError):
                await then(stream)

        return script

    return make


def taken(then: Breaks) -> Callable[[Scene], Script]:
    """A connection that takes no more; the reply on it ends when it is told to."""

    def make(scene: Scene) -> Script:
        asked = 0

        async def script(stream: Stream) -> None:
            nonlocal asked
            asked += 1
            if asked > 1:
                await well(scene, stream)
                return
            first, rest = parts(scene)
            await stream.head(kind=kind(scene))
            await stream.data(first)
            await then(stream)
            scene.asked.set()
            await scene.go.wait()
            await stream.data(rest, ends=True)

        return script

    return make


# -- what the client does, and what else is looked at


async def asks_meanwhile(scene: Scene, here: World) -> Got | None:
    """Another request, while the first reply is on its way."""
    link = await scene.link(here)
    await scene.send(link)
    await scene.asked.wait()
    await trio.testing.wait_all_tasks_blocked()
    await asks(scene, here)
    scene.go.set()
    got = await link.response()
    await link.aclose()
    return got


def used(connections: int, requests: int | None = None) -> Check:
    """So many connections to the first upstream, with so many requests on them."""

    def check(scene: Scene, here: World) -> None:
        assert here.upstreams["bad"].accepted == connections
        if requests is not None:
            assert len(here.upstreams["bad"].seen) == requests

    return check


CLOSED = "the upstream closed the connection before its reply was whole"
RESET = "the upstream reset the stream"
UNDONE = "the upstream did not process the request"


def finishes(when: str, then: Breaks) -> Case:
    """Row 17."""
    return Case(
        when, far(taken(then)), WHOLE, WHOLE, attempts=("ok",), exchanges=2, acts=asks_meanwhile,
        also=used(2, 2),
    )  # fmt: skip


def again(when: str, then: Breaks, connections: int) -> list[Case]:
    """Row 18."""
    never = 100
    asked = used(connections, 2)
    return [
        Case(f"{when}, once", far(instead(then)), WHOLE, WHOLE, attempts=("ok",), also=asked),
        Case(
            f"{when}, and again", far(instead(then, never)), refused(502, UNDONE),
            refused(502, UNDONE), also=asked,
        ),
        Case(
            f"{when}, and again, another candidate", far(instead(then, never), spare=True), WHOLE,
            WHOLE, attempts=("server", "ok"), also=asked,
        ),
    ]  # fmt: skip


def given_up(code: int, name: str) -> list[Case]:
    """Row 19, in the middle of a reply."""
    make = halfway(rst(code))
    return [
        Case(f"{name}, in the middle", far(make), breaks(RESET), None, attempts=("ok",)),
        Case(f"{name}, in the middle", far(make), None, refused(502, RESET)),
    ]


def before_output(then: Breaks) -> Callable[[Scene], Script]:
    """A head and what bears no output."""

    def make(scene: Scene) -> Script:
        async def script(stream: Stream) -> None:
            await stream.head(kind=kind(scene))
            start = preamble(scene.upstream) if scene.stream else b'{"'
            await stream.data(start)
            await then(stream)

        return script

    return make


TWICE: Act = asks_twice

ROWS = (
    Row(
        17, "an HTTP/2 upstream takes no more (GOAWAY), our request before that",
        "GOAWAY in the middle of a reply, with its stream as the last one or none named",
        (
            finishes("the last stream is ours", goaway(1)),
            finishes("no last stream is named yet", goaway(LAST_STREAM)),
            finishes("with an error code", goaway(1, ENHANCE_YOUR_CALM)),
        ),
        notes="Its reply goes on to its end; new requests go over another connection at once.",
    ),
    Row(
        18, "an HTTP/2 upstream did not take our request",
        "GOAWAY whose last stream is below ours; RST_STREAM with REFUSED_STREAM",
        (*again("GOAWAY", goaway(0), 2), *again("REFUSED_STREAM", rst(REFUSED_STREAM), 1)),
        notes="Asked again, once, without a word: it is one attempt (RFC 9113 8.7). After GOAWAY that is on another connection.",
    ),
    Row(
        19, "an HTTP/2 upstream gives up the stream", "RST_STREAM, once the client has the first half",
        (
            *given_up(INTERNAL_ERROR, "INTERNAL_ERROR"),
            *given_up(CANCEL, "CANCEL"),
            *given_up(NO_ERROR, "NO_ERROR"),
            *given_up(REFUSED_STREAM, "REFUSED_STREAM"),
            Case(
                "before the answer's head", far(instead(rst(INTERNAL_ERROR))), refused(502, RESET),
                refused(502, RESET), also=used(1, 1),
            ),
            Case(
                "before the answer's head, another candidate",
                far(instead(rst(INTERNAL_ERROR)), spare=True), WHOLE, WHOLE,
                attempts=("server", "ok"), also=used(1, 1),
            ),
            Case(
                "before output, another candidate",
                far(before_output(rst(INTERNAL_ERROR)), spare=True), WHOLE, WHOLE,
                attempts=("server", "ok"), also=used(1, 1),
            ),
            Case(
                "asked again", far(instead(rst(INTERNAL_ERROR))), WHOLE, WHOLE, attempts=("ok",),
                exchanges=2, acts=TWICE, also=used(1, 2),
            ),
            Case(
                "after Stop", far(after(rst(INTERNAL_ERROR), whole=False)), REPAIRED, None,
                attempts=("ok",), upstreams=(CHAT, MESSAGES),
            ),
            Case(
                "after the end", far(after(rst(NO_ERROR), whole=True)), WHOLE, WHOLE,
                attempts=("ok",), exchanges=2, acts=TWICE, also=used(1, 2),
            ),
        ),
        notes="Its connection goes on: other replies on it do not notice, and the next request uses it.",
    ),
)  # fmt: skip
