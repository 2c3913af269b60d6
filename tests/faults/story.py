"""How a row of the fault matrix is told: what is done, what the client sees, what is kept.

A `Row` is one fault, a `Case` one moment or place of it, a `Scene` one telling of a case: by a client of
some dialect and HTTP version, of an upstream of some dialect, streaming or not. `tell` runs a scene and
checks all that the row promises. docs/LIVENESS.md is made of the same rows.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal

import trio

from rawproxy.dialects.grammar import validate
from rawproxy.gateway.record import Record
from rawproxy.net.mux import INTERNAL_ERROR
from tests.net.fakes import (
    Client,
    Got,
    Link,
    Script,
    Seen,
    chunk,
    head,
    streams,
    whole,
)
from tests.net.fakes_http2 import Http2Client
from tests.net.world import (
    CHAT,
    MESSAGES,
    PATH,
    RESPONSES,
    World,
    body_text,
    call,
    delta,
    errors,
    is_whole,
    message_of,
    preamble,
    reply_body,
    reply_stream,
    text,
)

CLIENTS = (CHAT, MESSAGES, RESPONSES)
PAIRS = (
    (CHAT, CHAT), (CHAT, MESSAGES), (MESSAGES, MESSAGES), (MESSAGES, CHAT),
    (RESPONSES, RESPONSES), (RESPONSES, CHAT),
)  # fmt: skip
"""Client and upstream: every client where its reply is passed, and where it is translated."""

LINKS: dict[str, Callable[[str], Awaitable[Link]]] = {
    "1.1": Client.connect,
    "2": Http2Client.connect,
}
"""How a client of each HTTP version connects."""

HTTP_VERSIONS = tuple(LINKS)
"""What every story is told over."""

SAID = "fine"
"""What an upstream says that is well, as a rule; one that breaks says HALF."""
HALF = "half"


@dataclass(frozen=True)
class Sees:
    """What the client gets, and the outcome that the record names.

    Attributes:
        status: of the response.
        error: words of the one error that it tells, in the client's dialect; "" where all is well.
        outcome: the record's.
        how: `whole`: all that the upstream said, complete. `error`: a body of JSON with the error. `broken`: what
            came, then exactly one error as the dialect has it in a stream, and a clean end. `cut`: what
            came, and an end that no framing promised. `as it is`: the upstream's own bytes. `nothing`:
            the client has left, or is cut off.
        retry_after: seconds that the error asks it to wait.
        keepalives: at least so many came before.
    """

    status: int
    outcome: str
    how: Literal["whole", "error", "broken", "cut", "as it is", "nothing"]
    error: str = ""
    retry_after: str = ""
    keepalives: int = 0

    def __str__(self) -> str:
        """As the page tells it."""
        match self.how:
            case "whole":
                told = f"`{self.status}`, the whole reply"
            case "error":
                told = f"`{self.status}` *{self.error}*"
            case "broken":
                told = f"`{self.status}`, what came, then one error *{self.error}*"
            case "cut":
                told = f"`{self.status}`, what came, an unclean end"
            case "as it is":
                told = f"`{self.status}`, the upstream's bytes as they are"
            case _:
                told = "nothing more"
        if self.retry_after:
            told += f", `Retry-After: {self.retry_after}`"
        if self.keepalives:
            told += f", after {self.keepalives} keepalive{'s' * (self.keepalives > 1)}"
        return told


WHOLE = Sees(200, "ok", "whole")
REPAIRED = Sees(200, "repaired", "whole")
AS_IT_IS = Sees(200, "ok", "as it is")
GONE = Sees(0, "client_gone", "nothing")
STALLED = Sees(0, "client_stalled", "nothing")


def refused(status: int, error: str, **more: Any) -> Sees:
    """Nothing was sent before it: a status, and an error in the client's dialect."""
    return Sees(status, more.pop("outcome", "failed"), "error", error, **more)


def breaks(error: str, **more: Any) -> Sees:
    """A stream that was under way."""
    return Sees(200, more.pop("outcome", "broken"), "broken", error, **more)


@dataclass(eq=False)
class Scene:
    """One telling of a case."""

    case: "Case"
    client: str
    upstream: str
    stream: bool
    http: str = "1.1"
    go: trio.Event = field(default_factory=trio.Event)
    """The client has what came: the upstream may break now."""
    asked: trio.Event = field(default_factory=trio.Event)
    """A request has come to the upstream."""
    notes: dict[str, Any] = field(default_factory=dict)
    """What the fault wants to look at afterwards."""

    said: str = SAID
    """What an upstream says that is well."""

    @property
    def passed(self) -> bool:
        """Whether client and upstream speak one dialect."""
        return self.client == self.upstream

    @property
    def sees(self) -> Sees:
        """What this client has to get."""
        found = self.case.stream if self.stream else self.case.blocking
        assert found is not None
        return found

    @property
    def half(self) -> bytes:
        """What an upstream sends that breaks in the middle: a head, and half of a reply."""
        if self.stream:
            return head() + chunk(preamble(self.upstream) + delta(self.upstream, HALF))
        body = reply_body(self.upstream, HALF)
        return head(200, "application/json") + chunk(body[: len(body) // 2])

    async def link(self, here: World) -> Link:
        """A client's connection to the proxy."""
        return await LINKS[self.http](here.url)

    async def send(self, link: Link, **more: Any) -> None:
        """Ask."""
        fields = self.notes.get("fields")
        body = call(self.client, stream=self.stream, **more)
        await link.send("POST", PATH[self.client], body, fields)

    def __str__(self) -> str:
        way = "stream" if self.stream else "blocking"
        return f"{self.case.when}-{self.client}-{self.upstream}-{way}-{self.http}".replace(" ", "_")


Fault = Callable[[Scene], AbstractAsyncContextManager[World]]
Act = Callable[[Scene, World], Awaitable[Got | None]]
Check = Callable[[Scene, World], None]


async def asks(scene: Scene, here: World) -> Got | None:
    """The client asks and reads; where the upstream is to break, once what came before is there."""
    link = await scene.link(here)
    try:
        await scene.send(link)
        if not (scene.stream and scene.notes.get("waits")):
            return await link.response()
        head = await link.head()
        body = b""
        while HALF.encode() not in body:
            body += await link.read()
        scene.go.set()
        rest, clean = await link.rest()
        return Got(head.status_code, {}, body + rest, clean)
    finally:
        scene.notes["codes"] = getattr(link, "codes", {})
        await link.aclose()


async def asks_twice(scene: Scene, here: World) -> Got | None:
    """One request after the other; what the second one gets counts."""
    await asks(scene, here)
    return await asks(scene, here)


SLACK = 1.0
"""Seconds: the clocks are looked at every quarter of one, and closing is promised within one."""


@dataclass(frozen=True)
class Case:
    """One moment or place of a fault.

    Attributes:
        when: the moment, in words.
        fault: makes the world in which it happens.
        stream: what a client sees that streams; None: such a client cannot come here.
        blocking: and one that does not.
        attempts: how each attempt of the (last) record ended.
        keys: what became of each key of the first upstream: `ready`, `resting`, `resting for the
            model`, `dead`. Empty: its one key is ready, or it has none.
        limit: the key of the configuration that decides when.
        seconds: after how many of the proxy's own it happens.
        slack: how many seconds late it may be.
        exchanges: records that are written in all.
        acts: what the client does.
        only: `passed`, `translated` or "": whether client and upstream speak one dialect.
        clients: the dialects of clients that come here.
        upstreams: and of upstreams.
        also: checks what else the row promises.
        over: the client's HTTP versions.
        slow: it takes seconds.
        real: it runs by the kernel's clocks, so it takes real time.
    """

    when: str
    fault: Fault
    stream: Sees | None
    blocking: Sees | None
    attempts: tuple[str, ...] = ("server",)
    keys: tuple[str, ...] = ()
    limit: str = ""
    seconds: float = 0.0
    slack: float = SLACK
    exchanges: int = 1
    acts: Act = asks
    only: Literal["", "passed", "translated"] = ""
    clients: tuple[str, ...] = CLIENTS
    upstreams: tuple[str, ...] = CLIENTS
    also: Check | None = None
    over: tuple[str, ...] = HTTP_VERSIONS
    slow: bool = False
    real: bool = False

    def scenes(self) -> Iterator[Scene]:
        """Every telling of it."""
        for http in self.over:
            for client, upstream in PAIRS:
                if client not in self.clients or upstream not in self.upstreams:
                    continue
                if self.only and self.only != ("passed" if client == upstream else "translated"):
                    continue
                for stream in (True, False):
                    if (self.stream if stream else self.blocking) is not None:
                        yield Scene(self, client, upstream, stream, http)


@dataclass(frozen=True)
class Row:
    """One fault.

    Attributes:
        number: in the matrix.
        fault: what goes wrong.
        injected: how the tests make it happen.
        cases: its moments and places.
        later: what has to be built first. Such a row has no cases.
        notes: what more there is to know.
    """

    number: int
    fault: str
    injected: str = ""
    cases: tuple[Case, ...] = ()
    later: str = ""
    notes: str = ""


# -- telling


async def tell(scene: Scene) -> None:
    """Run a scene, and check what its row promises."""
    case = scene.case
    async with case.fault(scene) as here:
        began = trio.current_time()
        got = await case.acts(scene, here)
        await here.kept(case.exchanges)
        took = trio.current_time() - began
        check_sees(scene, got, here)
        assert took >= case.seconds
        if case.seconds:
            assert took <= case.seconds + case.slack
        await trio.sleep(SLACK)
        check_kept(scene, here)
        check_let_go(scene, here)
        if case.also is not None:
            case.also(scene, here)


def check_sees(scene: Scene, got: Got | None, here: World) -> None:
    """What the client got is what its row says."""
    sees, client = scene.sees, scene.client
    if sees.how == "nothing":
        assert got is None
        return
    assert got is not None
    assert got.status == sees.status, got.body[:500]
    assert got.clean is (sees.how != "cut")
    match sees.how:
        case "whole" if scene.stream:
            assert errors(client, got.body) == []
            assert text(client, got.body) == scene.said
            assert is_whole(client, got.body)
        case "whole":
            assert body_text(client, got.body) == scene.said
        case "as it is":
            assert got.body == scene.notes["body"]
        case "error":
            assert sees.error in message_of(got.body)
            assert got.fields.get("content-type") == "application/json"
            assert got.fields.get("retry-after", "") == sees.retry_after
        case "cut" if scene.http == "2":
            assert list(scene.notes["codes"].values()) == [INTERNAL_ERROR]
        case "broken":
            [told] = errors(client, got.body)
            assert sees.error in told
            assert not is_whole(client, got.body)
            if not scene.passed:
                violations = [str(one) for one in validate(client, got.body) if one.rule != "end"]
                assert violations == []
    assert _keepalives(got.body) >= sees.keepalives


def _keepalives(body: bytes) -> int:
    forms = (b": keepalive\n\n", b"event: ping\n", b"event: keepalive\n")
    return sum(body.count(form) for form in forms)


def check_kept(scene: Scene, here: World) -> None:
    """One record for each exchange, and what it says; what the keys learnt."""
    case = scene.case
    assert len(here.records) == case.exchanges
    record: Record = here.records[-1]
    assert record.outcome == scene.sees.outcome, record
    assert tuple(note.ended for note in record.attempts) == case.attempts, record
    assert (record.client_dialect, record.stream) == (scene.client, scene.stream)
    if scene.sees.status:
        assert record.status == scene.sees.status
    first = next(iter(here.upstreams))
    now = trio.current_time()
    learnt = [
        _learnt(key.dead, key.rest_until > now, key.ready_at("m") > now) for key in here.keys(first)
    ]
    assert learnt == list(case.keys or ("ready",))


def _learnt(dead: bool, resting: bool, resting_here: bool) -> str:
    if dead:
        return "dead"
    return "resting" if resting else "resting for the model" if resting_here else "ready"


def check_let_go(scene: Scene, here: World) -> None:
    """Nothing runs on, and no upstream connection stands that is not in the pool."""
    assert (here.running, here.held) == (0, 0)
    if not scene.notes.get("deaf"):  # an upstream that is cut off cannot see it
        assert here.unclosed == 0


def good(upstream: str, words: str = SAID) -> Script:
    """An upstream that is well: it answers whatever is asked, streaming or not."""

    async def script(seen: Seen, wire: trio.SocketStream) -> None:
        if b'"stream":true' in seen.body.replace(b" ", b""):
            await streams(reply_stream(upstream, words))(seen, wire)
        else:
            await wire.send_all(whole(200, reply_body(upstream, words)))

    return script


async def hang(wire: trio.SocketStream) -> None:
    """Say nothing more, until the proxy has left."""
    with suppress(trio.BrokenResourceError):
        while await wire.receive_some(65536):
            pass
    await trio.aclose_forcefully(wire)
