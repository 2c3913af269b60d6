"""Looking at a call without reading all of it."""

import json

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from rawproxy.dialects.base import NOTHING_GIVEN, Given, Glance
from rawproxy.dialects.glance import LONGEST_MODEL, glance, values
from rawproxy.errors import ClientError, WireError
from rawproxy.wire import splice


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"model": "m"}, Glance("m", stream=False)),
        ({"model": "m", "stream": False}, Glance("m", stream=False)),
        ({"model": "m", "stream": True}, Glance("m", stream=True)),
        ({"model": "m", "stream": "true", "n": 3}, Glance("m", stream=True, choices=3)),
        ({"model": "m", "n": None}, Glance("m", stream=False)),
        ({"model": "m", "n": "x"}, Glance("m", stream=False)),
        ({"model": "m", "n": 99999}, Glance("m", stream=False)),
        ({"model": "ü\n", "x": [{"model": "other", "stream": True}]}, Glance("ü\n", stream=False)),
    ],
)
def test_what_is_seen(body: dict[str, object], expected: Glance) -> None:
    assert glance(json.dumps(body).encode(), NOTHING_GIVEN) == expected


@pytest.mark.parametrize(
    ("rest", "stream"),
    [(b'"n":1e999', True), (b'"stream":"tr\xffue"', False), (b'"stream":1', False), (b'"n":-3', True)],
)  # fmt: skip
def test_what_cannot_be_read_means_nothing(rest: bytes, stream: bool) -> None:
    body = b'{"model":"m",%b}' % rest
    assert glance(body, NOTHING_GIVEN, streams=True) == Glance("m", stream=stream)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (Given("p"), Glance("p", stream=True, choices=2)),
        (Given("p", stream=False), Glance("p", stream=False, choices=2)),
        (Given(None, stream=True), Glance("b", stream=True, choices=2)),
    ],
)
def test_what_the_path_says_wins(given: Given, expected: Glance) -> None:
    assert glance(b'{"model":"b","stream":true,"n":2}', given) == expected


def test_names_and_defaults_of_a_dialect() -> None:
    assert glance(b'{"model":"b","k":4}', Given("p"), model="", n="k", streams=True) == Glance(
        "p", stream=True, choices=4
    )
    assert glance(b'{"stream":false}', Given("p", stream=True), model="", n="") == Glance(
        "p", stream=True
    )


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"[]", "cannot be read"),
        (b"", "cannot be read"),
        (b'{"model":"a","model":"b"}', "duplicate"),
        (b'{"model":"a","stream":true,"stream":false}', "duplicate"),
        (b'{"model":7}', "expected a string"),
        (b"{}", "expected a string"),
    ],
)
def test_what_cannot_be_decided_on_is_refused(body: bytes, words: str) -> None:
    with pytest.raises(ClientError, match=words):
        glance(body, NOTHING_GIVEN)


@pytest.mark.parametrize("given", [True, False])
def test_a_body_is_an_object_even_where_nothing_is_looked_for(given: bool) -> None:
    with pytest.raises(ClientError, match="cannot be read"):
        glance(b"[]", Given("m", stream=given), model="", n="")


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_a_models_name_has_a_limit(over: int) -> None:
    body = json.dumps({"model": "m" * (LONGEST_MODEL + over)}).encode()
    if over > 0:
        with pytest.raises(ClientError, match="256 characters"):
            glance(body, NOTHING_GIVEN)
    else:
        assert len(glance(body, NOTHING_GIVEN).model) == LONGEST_MODEL + over


KEYS = ['"model"', '"n"', '"mod\\u0065l"', '"\\u006e"', '"x"', '"\\n"']
VALUES = ['"m"', "1", "1.50", '{"model":1}', '["n"]', '"\\u0061"', '"a\nb"', "nonsense"]


@drawn(
    st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from(VALUES)), max_size=4),
    st.sampled_from(["", "}", "{", " "]),
)
def test_values_are_those_that_splice_finds(members: list[tuple[str, str]], behind: str) -> None:
    body = ("{" + ",".join(f"{key} : {value}" for key, value in members) + "}" + behind).encode()
    found: dict[str, bytes] | str
    expected: dict[str, bytes] | str
    try:
        expected = {
            name: value
            for name in ("model", "n")
            if (value := splice.value(body, name)) is not None
        }
    except WireError as error:
        expected = str(error)
    try:
        found = values(body, ("model", "n"))
    except WireError as error:
        found = str(error)
    assert found == expected


def test_values_of_a_body_nested_too_deep_for_a_decoder() -> None:
    body = b'{"model":"m","x":' + b"[" * 100_000
    assert values(body, ("model",)) == {"model": b'"m"'}
