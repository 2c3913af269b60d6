"""Who may ask: callers, credentials, and the rules against web pages."""

import pytest

from rawproxy.errors import Forbidden, Unauthorized
from rawproxy.gateway.access import ANYONE, Access, Caller, Doors, credential, hashed
from rawproxy.gateway.keys import Secret
from rawproxy.wire.fields import get
from rawproxy.wire.http import Fields

TEAM = Caller("team-a", Secret("team-key"), ("gpt-*",))
HASHED = Caller("team-b", Secret("sha256:" + hashed("other-key").upper()))
CALLERS = Access("callers", (TEAM, HASHED))


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ([(b"x-api-key", b"one")], "one"),
        ([(b"authorization", b"Bearer two")], "two"),
        ([(b"authorization", b"bearer two")], "two"),
        ([(b"authorization", b"Bearer two"), (b"x-api-key", b"one")], "one"),
        ([(b"authorization", b"Basic abc")], None),
        ([(b"authorization", b"Bearer ")], None),
        ([(b"x-api-key", b"")], None),
        ([], None),
    ],
)
def test_where_a_credential_stands(fields: Fields, found: str | None) -> None:
    got = credential(fields)
    assert (None if got is None else got.encode()) == (None if found is None else found.encode())


@pytest.mark.parametrize(("key", "name"), [(b"team-key", "team-a"), (b"other-key", "team-b")])
def test_callers_are_known_by_their_key(key: bytes, name: str) -> None:
    assert CALLERS.identify([(b"x-api-key", key)]).name == name


@pytest.mark.parametrize("mode", ["callers", "forward"])
def test_no_credential_is_401(mode: str) -> None:
    access = Access("callers" if mode == "callers" else "forward", (TEAM,))
    with pytest.raises(Unauthorized, match="no API key"):
        access.identify([])


@pytest.mark.parametrize(
    "key", [b"team-ke", b"team-key2", b"canary-key", b"sha256:" + hashed("other-key").encode()]
)
def test_an_unknown_credential_is_401_and_not_quoted(key: bytes) -> None:
    with pytest.raises(Unauthorized) as caught:
        CALLERS.identify([(b"x-api-key", key)])
    assert key.decode() not in str(caught.value)
    assert caught.value.status == 401


def test_an_open_door_asks_nothing() -> None:
    assert Access("open").identify([]) is ANYONE
    assert ANYONE.may_use("anything")


def test_a_forwarded_credential_is_its_own_caller() -> None:
    access = Access("forward")
    one = access.identify([(b"x-api-key", b"mine-and-only-mine")])
    two = access.identify([(b"authorization", b"Bearer another")])
    assert one.name != two.name
    assert one.key.encode() == b"mine-and-only-mine"
    assert "mine" not in one.name


@pytest.mark.parametrize(
    ("model", "may"), [("gpt-5", True), ("gpt-", True), ("claude-x", False), ("x-gpt-5", False)]
)
def test_a_callers_models_are_globs(model: str, may: bool) -> None:
    assert TEAM.may_use(model) is may


DOORS = Doors(("proxy.internal",), ("https://app.example",))


@pytest.mark.parametrize(
    "fields",
    [
        [(b"host", b"localhost:8080")],
        [(b"host", b"127.0.0.1:8080")],
        [(b"host", b"[::1]:8080")],
        [(b"host", b"proxy.internal")],
        [(b"host", b"PROXY.internal:80")],
        [(b"host", b"localhost"), (b"origin", b"https://app.example")],
    ],
)
def test_guarded_doors_let_in(fields: Fields) -> None:
    DOORS.check(fields)  # raises otherwise
    assert get(fields, b"host")


@pytest.mark.parametrize(
    "fields",
    [
        [(b"host", b"evil.example")],
        [(b"host", b"localhost.evil.example")],
        [(b"host", b"169.254.169.254")],
        [(b"host", b"")],
        [],
        [(b"host", b"localhost"), (b"origin", b"https://evil.example")],
        [(b"host", b"localhost"), (b"origin", b"null")],
        [(b"host", b"localhost"), (b"origin", b"http://localhost:8080")],
    ],
)
def test_guarded_doors_keep_out(fields: Fields) -> None:
    with pytest.raises(Forbidden):
        DOORS.check(fields)


def test_other_listeners_are_not_guarded() -> None:
    fields = [(b"host", b"evil.example"), (b"origin", b"x")]
    Doors(guarded=False).check(fields)  # raises otherwise
    with pytest.raises(Forbidden):
        Doors().check(fields)


def test_nobody_becomes_another_forwarded_caller_by_showing_a_digest() -> None:
    access = Access("forward")
    victim = access.identify([(b"x-api-key", b"victims-key")])
    thief = access.identify([(b"x-api-key", b"sha256:" + hashed("victims-key").encode())])
    assert victim.name != thief.name


@pytest.mark.parametrize(
    ("fields", "query", "key"),
    [
        ([(b"x-goog-api-key", b"g")], b"", "g"),
        ([(b"api-key", b"z")], b"", "z"),
        ([], b"alt=sse&key=q%2F1", "q/1"),
        ([], b"key=", None),
        ([], b"monkey=x", None),
        ([(b"x-api-key", b"a")], b"key=q", "a"),
        ([(b"authorization", b"Bearer b")], b"", "b"),
    ],
)
def test_where_vendors_clients_put_their_keys(
    fields: Fields, query: bytes, key: str | None
) -> None:
    found = credential(fields, query)
    assert (None if found is None else found.encode().decode()) == key
