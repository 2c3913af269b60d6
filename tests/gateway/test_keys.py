"""Keys: the three states, what moves them, and a secret that never prints itself."""

import logging

import msgspec
import pytest

from rawproxy.gateway.keys import (
    FIRST_REST,
    FORBIDDEN_REST,
    LONGEST_BELIEVED,
    LONGEST_REST,
    Key,
    KeyPool,
    Outcome,
    Secret,
    is_fetched,
    without_secret,
)

INF = float("inf")


@pytest.mark.parametrize(
    ("outcomes", "retry_after", "ready_at"),
    [
        ([], None, -INF),
        ([Outcome.OK], None, -INF),
        ([Outcome.NOT_THE_KEY], None, -INF),
        ([Outcome.LIMITED], None, 100 + FIRST_REST),
        ([Outcome.LIMITED, Outcome.LIMITED], None, 100 + 2 * FIRST_REST),
        ([Outcome.LIMITED] * 9, None, 100 + LONGEST_REST),
        ([Outcome.LIMITED] * 1100, None, 100 + LONGEST_REST),
        ([Outcome.LIMITED, Outcome.OK, Outcome.LIMITED], None, 100 + FIRST_REST),
        ([Outcome.LIMITED], 7.0, 107.0),
        ([Outcome.LIMITED], 0.0, 100.0),
        ([Outcome.LIMITED], LONGEST_BELIEVED - 1, 99.0 + LONGEST_BELIEVED),
        ([Outcome.LIMITED], LONGEST_BELIEVED, 100.0 + LONGEST_BELIEVED),
        ([Outcome.LIMITED], LONGEST_BELIEVED + 1, 100.0 + LONGEST_BELIEVED),
        ([Outcome.DENIED], None, INF),
        ([Outcome.DENIED, Outcome.OK], None, INF),
        ([Outcome.FORBIDDEN], None, 100 + FORBIDDEN_REST),
    ],
)
def test_outcomes_move_a_key(
    outcomes: list[Outcome], retry_after: float | None, ready_at: float
) -> None:
    key = Key(Secret("k"))
    for outcome in outcomes:
        key.note(outcome, 100.0, model="m", retry_after=retry_after)
    assert key.ready_at("m") == ready_at


def test_a_forbidden_model_rests_alone() -> None:
    key = Key(Secret("k"))
    key.note(Outcome.FORBIDDEN, 100.0, model="m")
    assert key.ready_at("other") == -INF


@pytest.mark.parametrize(
    ("provider", "secret", "fetched"),
    [
        ("bedrock", "aws:", True),
        ("bedrock", "aws:secret", False),
        ("bedrock", "google:", False),
        ("bedrock", "{", False),
        ("vertex", "google:", True),
        ("vertex", '{"type": "service_account"}', True),
        ("vertex", "aws:", False),
        ("vertex", "ya29.token", False),
        ("openai", "aws:", False),
        ("openai", "{", False),
    ],
)
def test_secrets_that_are_fetched(provider: str, secret: str, fetched: bool) -> None:
    assert is_fetched(provider, Secret(secret)) is fetched


def test_a_key_rests_until_it_is_renewed() -> None:
    key = Key(Secret())
    key.await_renewal()
    assert key.ready_at("m") == INF
    key.renew(Secret("a"))
    assert key.ready_at("m") == -INF


def test_a_new_secret_wakes_a_key_but_keeps_the_limit() -> None:
    key = Key(Secret("a"))
    for outcome in (Outcome.DENIED, Outcome.FORBIDDEN, Outcome.LIMITED):
        key.note(outcome, 100.0, model="m")
    key.renew(Secret("a"))
    assert key.ready_at("m") == INF
    key.renew(Secret("b"))
    assert key.secret == "b"
    assert key.ready_at("m") == 100 + FIRST_REST


def test_a_pool_spreads_over_ready_keys() -> None:
    first, second = Key(Secret("1")), Key(Secret("2"))
    pool = KeyPool([first, second])
    assert [pool.pick(now) for now in (1.0, 2.0, 3.0)] == [first, second, first]


def test_a_pool_skips_the_resting_and_the_dead() -> None:
    resting, dead, ready = (Key(Secret(text)) for text in "abc")
    resting.note(Outcome.LIMITED, 0.0, retry_after=50.0)
    dead.note(Outcome.DENIED, 0.0)
    pool = KeyPool([resting, dead, ready])
    assert pool.pick(1.0) is ready
    assert pool.pick(2.0, tried={ready}) == 50.0
    assert pool.pick(50.0, tried={ready}) is resting
    assert pool.pick(51.0, tried={ready, resting}) == INF


def test_an_empty_pool_never_has_a_key() -> None:
    assert KeyPool([]).pick(0.0) == INF


CANARY = "sk-canary-0123456789abcdef"


@pytest.mark.parametrize(
    "shown",
    [
        str(Secret(CANARY)),
        repr(Secret(CANARY)),
        f"{Secret(CANARY)}",
        f"{Secret(CANARY)!s:>60}",
        "%s %r" % (Secret(CANARY), Secret(CANARY)),  # noqa: UP031 - the way logging formats
        "{}".format(Secret(CANARY)),  # noqa: UP032 - one more way
        repr(Key(Secret(CANARY))),
        repr([Secret(CANARY)]),
        str({"key": Secret(CANARY)}),
    ],
)
def test_a_secret_shows_a_hint_only(shown: str) -> None:
    assert CANARY not in shown
    assert CANARY[:-4] not in shown


def test_a_secret_is_its_text_where_it_is_sent() -> None:
    assert Secret(CANARY).encode() == CANARY.encode()
    assert "Bearer " + Secret(CANARY) == "Bearer " + CANARY


def test_a_short_secret_shows_nothing() -> None:
    assert str(Secret("short")) == "Secret('...')"


def test_a_secret_in_a_log_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        logging.getLogger("x").info("using %s", Secret(CANARY))
    assert "Secret('...cdef')" in caplog.text
    assert CANARY not in caplog.text


def test_a_secret_does_not_slip_into_json() -> None:
    with pytest.raises(TypeError):
        msgspec.json.encode({"key": Secret(CANARY)})


@pytest.mark.parametrize(
    ("secret", "told", "shown"),
    [
        ("sk-12345", b"bad key sk-12345 sk-12345", b"bad key [key] [key]"),
        ("sk-1234", b"bad key sk-1234", b"bad key sk-1234"),
        ("AKIA5678:abcdefgh:x", b"AKIA5678, abcdefgh, x", b"[key], [key], x"),
        ("", b"no key", b"no key"),
    ],
)
def test_what_quotes_a_secret(secret: str, told: bytes, shown: bytes) -> None:
    assert without_secret(told, Secret(secret)) == shown
