"""rawproxy.dialects.gemini.logprobs: as the API spells them, and as events carry them."""

import json

import pytest
from msgspec import Raw

from rawproxy.dialects.gemini.logprobs import read_logprobs, write_logprobs

RESULT = Raw(
    b'{"chosenCandidates":[{"token":"a","logProbability":-0.50},{"token":"b"}],'
    b'"topCandidates":[{"candidates":[{"token":"a","logProbability":-0.50}]}]}'
)


def test_they_are_read_and_written() -> None:
    read = read_logprobs(RESULT)
    assert read is not None
    assert b"-0.50" in bytes(read)
    a = {"token": "a", "logprob": -0.5, "bytes": None}
    assert json.loads(bytes(read)) == {
        "content": [
            a | {"top_logprobs": [a]},
            {"token": "b", "logprob": None, "bytes": None, "top_logprobs": []},
        ]
    }
    assert write_logprobs([read]) == {
        "chosenCandidates": [
            {"token": "a", "logProbability": Raw(b"-0.50")},
            {"token": "b", "logProbability": Raw(b"null")},
        ],
        "topCandidates": [
            {"candidates": [{"token": "a", "logProbability": Raw(b"-0.50")}]},
            {"candidates": []},
        ],
    }


@pytest.mark.parametrize("raw", [b"", b"null", b"{}", b'{"chosenCandidates":[]}'])
def test_nothing_is_said(raw: bytes) -> None:
    assert read_logprobs(Raw(raw)) is None


def test_another_shape_is_told() -> None:
    with pytest.raises(ValueError, match="chosenCandidates"):
        read_logprobs(Raw(b'{"chosenCandidates":5}'))


def test_what_cannot_be_written() -> None:
    assert write_logprobs([]) is None
    assert write_logprobs([b'{"content":5}']) is None
    plain = write_logprobs([b'{"content":[{"token":"a","logprob":-1}]}'])
    assert plain == {"chosenCandidates": [{"token": "a", "logProbability": Raw(b"-1")}]}
