"""Rows 7 to 12, 22, 23 and 32: the upstream's answer, or that there is none."""

import gzip
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio

from tests.faults.shared import CLOSED, far, hang_up, instead, second
from tests.faults.story import (
    AS_IT_IS,
    WHOLE,
    Case,
    Fault,
    Row,
    Scene,
    Sees,
    asks,
    asks_twice,
    good,
    hang,
    refused,
)
from tests.net.fakes import LAST_CHUNK, Got, Script, Seen, chunk, head, plays, reset, whole
from tests.net.world import (
    CHAT,
    MESSAGES,
    RESPONSES,
    World,
    error_body,
    reply_body,
    reply_stream,
    world,
)

OPENAI = (CHAT, RESPONSES)
FIRST = "stream.first_event_seconds"


def first(make: Callable[[Scene], Script], *, spare: bool = False, **more: Any) -> Fault:
    """An upstream that is asked first; `spare`: and another candidate that is well."""

    @asynccontextmanager
    async def fault(scene: Scene) -> AsyncIterator[World]:
        scripts = {"bad": make(scene)} | ({"up": good(scene.upstream)} if spare else {})
        options = {"bad": more.get("options", {})}
        sections = {name: value for name, value in more.items() if name != "options"}
        async with world(scripts, scene.upstream, options=options, **sections) as here:
            yield here

    return fault


# -- rows 7 to 9: an error status


KINDS = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


def key_of(seen: Seen) -> bytes:
    key = seen.get(b"authorization") or seen.get(b"x-api-key") or b""
    return key.removeprefix(b"Bearer ")


def status(code: int, words: str, *fields: str) -> Callable[[Scene], Script]:
    """Every key gets this status but the one that is called `second`."""

    def make(scene: Scene) -> Script:
        body = error_body(scene.upstream, KINDS.get(code, "api_error"), words)

        async def script(seen: Seen, wire: trio.SocketStream) -> None:
            if key_of(seen) == b"second":
                await good(scene.upstream)(seen, wire)
            else:
                await wire.send_all(whole(code, body, "application/json", *fields))

        return script

    return make


LIMITED = status(429, "slow down", "retry-after: 30")
DENIED = status(401, "bad key canary-1")
FORBIDDEN = status(403, "not for org canary-2")
TOLD = refused(429, "slow down", retry_after="30")
RESTING = refused(429, "every key for bad/m is resting", retry_after="30")
NO_KEY = refused(502, "no usable key is left for bad/m")
ONE: dict[str, Any] = {"options": {"keys": ["canary"]}}
TWO: dict[str, Any] = {"options": {"keys": ["canary", "second"]}}


def asked(times: int) -> Callable[[Scene, World], None]:
    """How often the first upstream was asked."""

    def check(scene: Scene, here: World) -> None:
        assert len(here.upstreams["bad"].seen) == times

    return check


def forwards(make: Callable[[Scene], Script]) -> Fault:
    """In access mode `forward`: the credential is the client's own."""

    @asynccontextmanager
    async def fault(scene: Scene) -> AsyncIterator[World]:
        scene.notes["fields"] = {"authorization": "Bearer my-own"}
        options = {"bad": {"forward": True}}
        async with world(
            {"bad": make(scene)}, scene.upstream, options=options, access={"mode": "forward"}
        ) as here:
            yield here
            assert [key_of(seen) for seen in here.upstreams["bad"].seen] == [b"my-own"]

    return fault


def credential(code: int, make: Callable[[Scene], Script], words: str, learnt: str) -> list[Case]:
    """Rows 7 and 8: what is wrong is the key."""
    ended = {401: "authentication", 403: "permission", 429: "rate_limit"}[code]
    only = TOLD if code == 429 else refused(502, words)
    again = RESTING if code == 429 or code == 403 else NO_KEY
    if code == 403:
        again = refused(429, "every key for bad/m is resting", retry_after="600")
    return [
        Case(
            f"{code}, another key", first(make, **TWO), WHOLE, WHOLE, attempts=(ended, "ok"),
            keys=(learnt, "ready"),
        ),
        Case(
            f"{code}, another candidate", first(make, spare=True, **ONE), WHOLE, WHOLE,
            attempts=(ended, "ok"), keys=(learnt,),
        ),
        Case(
            f"{code}, no other key", first(make, **ONE), only, only, attempts=(ended,), keys=(learnt,)
        ),
        Case(
            f"{code}, asked again", first(make, **ONE), again, again, attempts=(), keys=(learnt,),
            exchanges=2, acts=asks_twice, also=asked(1),
        ),
    ]  # fmt: skip


def own(code: int) -> Case:
    """Row 8: whatever the upstream says of the client's own credential reaches the client."""
    seen = refused(code, "not you")
    ended = KINDS[code].removesuffix("_error")
    make = status(code, "not you")
    return Case(f"{code}, access mode `forward`", forwards(make), seen, seen, attempts=(ended,))


def trouble(code: int) -> list[Case]:
    """Row 9: an upstream that is in trouble."""
    make = status(code, "down for now")
    ended = "overloaded" if code in (503, 529) else "server"
    same = refused(code, "down for now")
    cases = [
        Case(
            f"{code}, another candidate", first(make, spare=True), WHOLE, WHOLE,
            attempts=(ended, "ok"),
        ),
        Case(f"{code}, passed", first(make), same, same, attempts=(ended,), only="passed"),
    ]  # fmt: skip
    spelt: list[tuple[tuple[str, ...], int]] = [((CHAT, MESSAGES, RESPONSES), code)]
    if ended == "overloaded":
        spelt = [(OPENAI, 503), ((MESSAGES,), 529)]
    for clients, becomes in spelt:
        seen = refused(becomes, "down for now")
        of = "" if len(spelt) == 1 else ", " + ", ".join(clients)
        cases.append(
            Case(
                f"{code}, translated{of}", first(make), seen, seen, attempts=(ended,),
                only="translated", clients=clients,
            )
        )  # fmt: skip
    return cases


# -- rows 10 to 12: no answer


def silent(scene: Scene) -> Script:
    async def script(seen: Seen, wire: trio.SocketStream) -> None:
        scene.asked.set()
        await hang(wire)

    return script


def resets(scene: Scene) -> Script:
    async def script(seen: Seen, wire: trio.SocketStream) -> None:
        reset(wire)

    return script


def stale(scene: Scene) -> Script:
    """Its second request on one connection finds it closed."""
    answered: set[trio.SocketStream] = set()

    async def script(seen: Seen, wire: trio.SocketStream) -> None:
        if wire in answered:
            reset(wire)
        else:
            answered.add(wire)
            await good(scene.upstream)(seen, wire)

    return script


def two_connections(scene: Scene, here: World) -> None:
    assert here.upstreams["bad"].accepted == 2


BEGIN = "the upstream did not begin to answer in time"
BROKE = "the upstream's connection broke"


def no_answer(when: str, seconds: float, stream: Sees) -> Case:
    blocking = refused(504, BEGIN)
    fault = first(silent, stream={"first_event_seconds": seconds})
    return Case(
        when, fault, stream, blocking, attempts=("timeout",), limit=FIRST, seconds=seconds,
        also=asked(1),
    )  # fmt: skip


# -- rows 22, 23, 32: an answer that is none


BOMB = gzip.compress(bytes(64 * 2**20))
"""64 MiB of nothing in 64 KiB."""


def coded(scene: Scene) -> Script:
    scene.notes["body"] = BOMB
    kind = "text/event-stream" if scene.stream else "application/json"
    return plays(whole(200, BOMB, kind, "content-encoding: gzip"))


def half_coded(scene: Scene) -> Script:
    async def script(seen: Seen, wire: trio.SocketStream) -> None:
        data = whole(200, BOMB, "text/event-stream", "content-encoding: gzip")
        await wire.send_all(data[: len(data) // 2])
        await wire.aclose()

    return script


def coded_late(scene: Scene) -> Script:
    """When the head has gone out, and could not tell of a coding."""

    async def script(seen: Seen, wire: trio.SocketStream) -> None:
        await trio.sleep(12)
        await coded(scene)(seen, wire)

    return script


CODED = refused(502, "a content coding that nobody asked for")
CUT = Sees(200, "broken", "cut")


def asked_for_identity(scene: Scene, here: World) -> None:
    assert here.upstreams["bad"].seen[0].get(b"accept-encoding") == b"identity"


FIELDS = (
    "set-cookie: a=b", "connection: x-private", "x-private: 1", "keep-alive: timeout=5",
    "proxy-authenticate: Basic", "x-rawproxy-upstream: evil", "openai-organization: org-1",
    "x-request-id: req_7",
)  # fmt: skip


def with_fields(scene: Scene) -> Script:
    if scene.stream:
        body = reply_stream(scene.upstream, "fine")
        return plays(head(200, "text/event-stream", *FIELDS), chunk(body), LAST_CHUNK)
    return plays(whole(200, reply_body(scene.upstream, "fine"), "application/json", *FIELDS))


async def looks_at_fields(scene: Scene, here: World) -> Got | None:
    got = await asks(scene, here)
    assert got is not None
    assert got.fields["x-rawproxy-upstream"] == "bad/m"
    assert got.fields["x-request-id"] == "req_7"
    names = {field.partition(":")[0] for field in FIELDS} - {"x-rawproxy-upstream", "x-request-id"}
    assert not names & got.fields.keys() - {"connection"}
    assert "x-private" not in got.fields.get("connection", "")
    return got


def raw(name: str, data: bytes) -> Case:
    seen = refused(502, "the upstream's HTTP is broken")

    async def echoes_nothing(scene: Scene, here: World) -> Got | None:
        got = await asks(scene, here)
        assert got is not None
        assert b"canary" not in got.body
        assert "canary" not in str(got.fields)
        return got

    return Case(name, first(lambda scene: plays(data)), seen, seen, acts=echoes_nothing)


OK = b"HTTP/1.1 200 OK\r\n"


def odd(scene: Scene) -> Script:
    body = error_body(scene.upstream, "invalid_request_error", "messages: too odd")
    return plays(whole(400, body))


ODD = refused(400, "messages: too odd", outcome="refused")


def nobody_else(scene: Scene, here: World) -> None:
    """The other candidate is not asked: not once output has gone out, nor for the client's own error."""
    assert here.upstreams["up"].seen == []


REDIRECT = refused(502, "the upstream redirected (307)")
MOVED = whole(307, b"", "text/plain", "location: http://127.0.0.1:1/")


def redirects(scene: Scene) -> Script:
    return plays(MOVED)


async def is_not_led_away(scene: Scene, here: World) -> Got | None:
    got = await asks(scene, here)
    assert got is not None
    assert "location" not in got.fields
    return got


ROWS = (
    Row(
        7, "the upstream answers 429", "with `Retry-After: 30`",
        tuple(credential(429, LIMITED, "", "resting")),
        notes="The key rests for as long as it was told, at most an hour; told nothing, for 5 seconds, doubled each time.",
    ),
    Row(
        8, "the upstream answers 401 or 403", "with words that quote the key",
        (
            *credential(401, DENIED, "the upstream refused our credential", "dead"),
            *credential(
                403, FORBIDDEN, "the upstream does not let our credential use this model",
                "resting for the model",
            ),
            own(401),
            own(403),
        ),
        notes="A key that is dead stays so until the configuration is read again; one that may not use a "
        "model rests for that model, ten minutes. The upstream's words are not told: they quote the key.",
    ),
    Row(
        9, "the upstream answers 500, 502, 503 or 529", "with an error in its dialect",
        tuple(case for code in (500, 502, 503, 529) for case in trouble(code)),
    ),
    Row(
        10, "no answer comes", "an upstream that reads the request and says nothing",
        (
            no_answer("before the first keepalive", 5, refused(504, BEGIN)),
            no_answer(
                "after keepalives", 25, Sees(200, "failed", "broken", BEGIN, keepalives=2)
            ),
            Case(
                "another candidate",
                first(silent, spare=True, stream={"first_event_seconds": 25}), WHOLE, WHOLE,
                attempts=("timeout", "ok"), limit=FIRST, seconds=25,
            ),
        ),
    ),
    Row(
        11, "a fresh connection is reset before any answer", "SO_LINGER 0",
        (
            Case("one candidate", first(resets), refused(502, BROKE), refused(502, BROKE), also=asked(1)),
            Case(
                "on HTTP/2", far(instead(hang_up)), refused(502, CLOSED), refused(502, CLOSED),
                also=asked(1),
            ),
            Case(
                "another candidate", first(resets, spare=True), WHOLE, WHOLE,
                attempts=("server", "ok"), also=asked(1),
            ),
        ),
        notes="The same upstream is not asked again: it may have done what it was asked.",
    ),
    Row(
        12, "a pooled connection turns out to be closed", "SO_LINGER 0 at its second request",
        (
            Case(
                "before any byte of an answer", first(stale), WHOLE, WHOLE, attempts=("ok",),
                exchanges=2, acts=asks_twice, also=two_connections,
            ),
            Case(
                "on HTTP/2, before any byte of an answer", far(second(hang_up)), WHOLE, WHOLE,
                attempts=("ok",), exchanges=2, acts=asks_twice, also=two_connections,
            ),
        ),
        notes="Asked again on a new connection, once, without a word: it is one attempt.",
    ),
    Row(
        22, "the answer is coded, though identity was asked for", "64 MiB of zeros as 64 KiB of gzip",
        (
            Case(
                "passed", first(coded), AS_IT_IS, AS_IT_IS, attempts=("ok",), only="passed",
                also=asked_for_identity,
            ),
            Case(
                "passed, and cut", first(half_coded), CUT, CUT, attempts=("ok",), only="passed",
            ),
            Case("translated", first(coded), CODED, CODED, only="translated", also=asked_for_identity),
            Case(
                "passed, after a keepalive", first(coded_late),
                Sees(200, "failed", "broken", "the upstream's reply is coded", keepalives=1), None,
                only="passed",
            ),
            Case(
                "another candidate", first(coded, spare=True), WHOLE, WHOLE,
                attempts=("server", "ok"), only="translated",
            ),
        ),
        notes="Nothing is ever decoded here, so there is no bomb: what is passed goes by unobserved.",
    ),
    Row(
        23, "the answer's head is malicious", "fields that are ours or one hop's; broken HTTP",
        (
            Case(
                "fields that are not for the client", first(with_fields), WHOLE, WHOLE,
                attempts=("ok",), acts=looks_at_fields,
            ),
            raw("NUL in a field", OK + b"content-type: text/event-stream\r\nx: canary\x00\r\ncontent-length: 0\r\n\r\n"),
            raw("a bare CR in a field", OK + b"x: canary\rset-cookie: a=b\r\ncontent-length: 0\r\n\r\n"),
            raw("a bare CR in the reason", b"HTTP/1.1 200 canary\rx: y\r\ncontent-length: 0\r\n\r\n"),
            raw("a folded field", OK + b"x: canary\r\n folded\r\ncontent-length: 0\r\n\r\n"),
            raw("two lengths", OK + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
            raw("bare line feeds", b"HTTP/1.1 200 OK\ncontent-length: 0\n\n"),
            raw("another protocol", b"SSH-2.0-canary\r\n\r\n"),
        ),
    ),
    Row(
        32, "the upstream redirects", "307 with a `Location`",
        (
            Case("one candidate", first(redirects), REDIRECT, REDIRECT, acts=is_not_led_away, also=asked(1)),
            Case(
                "another candidate", first(redirects, spare=True), WHOLE, WHOLE,
                attempts=("server", "ok"),
            ),
        ),
        notes="Never followed: an address that an upstream names may be anybody's.",
    ),
    Row(
        34, "the upstream answers 400", "with an error in its dialect",
        (
            Case(
                "another candidate", first(odd, spare=True), ODD, ODD, attempts=("invalid",),
                also=nobody_else,
            ),
        ),
        notes="The client's own error is told to the client; nobody else is asked.",
    ),
)  # fmt: skip
