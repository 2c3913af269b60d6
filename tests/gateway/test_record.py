"""The record of an exchange."""

import json

from rawproxy.dialects.events import Usage
from rawproxy.gateway.record import AttemptNote, Record, estimated


def test_a_record_is_one_line_of_json() -> None:
    record = Record("rp_1", 1.5, caller="team\na", attempts=[AttemptNote("a/b", "ok", 200)])
    line = record.line()
    assert b"\n" not in line
    assert json.loads(line)["attempts"] == [{"upstream": "a/b", "ended": "ok", "status": 200}]


def test_usage_goes_into_its_columns() -> None:
    record = Record("rp_1", 0.0)
    record.use(None)
    assert record.usage_from == "none"
    record.use(Usage(input=5, output=0, cache_read=2, reasoning=None, source="derived"))
    assert (record.input_tokens, record.cached_tokens, record.output_tokens) == (5, 2, 0)
    assert (record.reasoning_tokens, record.usage_from) == (None, "derived")


def test_an_estimate_says_that_it_is_one() -> None:
    guess = estimated(4000, 7)
    assert (guess.input, guess.output, guess.source) == (1000, 7, "estimated")
    assert estimated(0, 0).input == 1
