"""rawproxy.dialects.openai_completions.logprobs: lists side by side, and the form of events."""

import json

import pytest
from msgspec import Raw

from rawproxy.dialects.openai_completions.logprobs import Probabilities, read_logprobs


def read(value: object) -> object:
    found = read_logprobs(Raw(json.dumps(value).encode()))
    return None if found is None else json.loads(bytes(found))


def test_lists_become_tokens() -> None:
    lists = {
        "tokens": [" a", "b"],
        "token_logprobs": [-0.5, -1.25],
        "top_logprobs": [{" a": -0.5, " c": -3.0}, None],
        "text_offset": [0, 2],
    }
    others = [
        {"token": " a", "logprob": -0.5, "bytes": None},
        {"token": " c", "logprob": -3.0, "bytes": None},
    ]
    assert read(lists) == {
        "content": [
            {"token": " a", "logprob": -0.5, "bytes": None, "top_logprobs": others},
            {"token": "b", "logprob": -1.25, "bytes": None, "top_logprobs": []},
        ]
    }


@pytest.mark.parametrize("lists", [{}, {"top_logprobs": []}, {"token_logprobs": []}])
def test_short_lists_are_filled_up(lists: dict[str, object]) -> None:
    """With `echo`, the first token has no probability either."""
    token = {"token": "a", "logprob": None, "bytes": None}
    assert read({"tokens": ["a"]} | lists) == {"content": [token | {"top_logprobs": []}]}


def test_the_newer_form_is_taken_as_it_is() -> None:
    assert read({"content": [{"token": "a", "x": 1}]}) == {"content": [{"token": "a", "x": 1}]}


@pytest.mark.parametrize("nothing", [None, {}, {"tokens": []}, {"content": []}, {"tokens": 7}, 7])
def test_nothing_is_nothing(nothing: object) -> None:
    assert read(nothing) is None


def test_a_field_that_is_not_there_says_nothing() -> None:
    assert read_logprobs(Raw()) is None


def test_numbers_keep_their_spelling() -> None:
    raw = Raw(b'{"tokens":["a"],"token_logprobs":[-0.50]}')
    said = Probabilities()
    found = read_logprobs(raw)
    assert found is not None
    assert said.add(found)
    assert b'"token_logprobs":[-0.50]' in said.told()


def test_offsets_count_on() -> None:
    said = Probabilities()
    assert said.told() == b"null"
    pieces = [b'{"content":[{"token":"\xc3\xbc!","logprob":-1}]}', b'{"content":[{"token":"b"}]}']
    assert [said.add(piece) for piece in pieces] == [True, True]
    assert json.loads(said.told()) == {
        "text_offset": [0, 2],
        "token_logprobs": [-1, None],
        "tokens": ["ü!", "b"],
        "top_logprobs": None,
    }
    assert said.add(
        b'{"content":[{"token":"c","logprob":-2,"top_logprobs":[{"token":"d","logprob":-3}]}]}'
    )
    assert json.loads(said.told()) == {
        "text_offset": [3],
        "token_logprobs": [-2],
        "tokens": ["c"],
        "top_logprobs": [{"d": -3}],
    }


@pytest.mark.parametrize("other", [b"[]", b'{"content":[1]}', b"oops"])
def test_another_form_is_told_apart(other: bytes) -> None:
    said = Probabilities()
    assert not said.add(other)
    assert said.told() == b"null"


def test_no_tokens_are_none() -> None:
    said = Probabilities()
    assert said.add(b'{"content":null}')
    assert said.told() == b"null"
