"""Freeform input goes through JSON arguments and comes back as it was, however it is cut."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rawproxy.dialects.freeform import FIELD, LONGEST_OPENING, SCHEMA, Unwrapper, wrap


def unwrapped(arguments: str, cuts: list[int]) -> str:
    unwrapper = Unwrapper()
    bounds = sorted({0, len(arguments), *(cut for cut in cuts if cut < len(arguments))})
    fed = "".join(unwrapper.feed(arguments[start:end]) for start, end in itertools.pairwise(bounds))
    return fed + unwrapper.close()


TEXTS = st.text(
    st.sampled_from('ab"\\/{}:\n\r\t\b\f\x00\x1fé€😀\u2028') | st.characters(codec="utf-8")
)
CUTS = st.lists(st.integers(1, 60))


@given(text=TEXTS, cuts=CUTS)
def test_cuts_never_change_the_text(text: str, cuts: list[int]) -> None:
    assert unwrapped(wrap(text), cuts) == text
    assert unwrapped(wrap(text), list(range(9999))) == text


@given(text=TEXTS, cuts=CUTS, indent=st.sampled_from([None, 1, 4]))
def test_another_encoder_s_escapes_are_read_alike(
    text: str, cuts: list[int], indent: int | None
) -> None:
    spelled = json.dumps({FIELD: text}, ensure_ascii=True, indent=indent)
    assert unwrapped(spelled, cuts) == text
    assert unwrapped(f" \n{spelled} \n", cuts) == text


@pytest.mark.parametrize(
    ("inside", "expected"),
    [
        (r"\ud83d\ude00", "😀"),
        (r"\uD83D\uDE00x", "😀x"),
        (r"\ud83d\ud83d\ude00", "\ufffd😀"),
        (r"\ud83dx", "\ufffdx"),
        (r"\ud83d\n", "\ufffd\n"),
        (r"\ud83d\u0041", "\ufffdA"),
        (r"\ud83d", "\ufffd"),
        (r"\ude00\ud83d", "\ufffd\ufffd"),
        (r"\"\\\/\b\f\n\r\t\u0041", '"\\/\b\f\n\r\tA'),
        ("a\nb\tc", "a\nb\tc"),  # line ends that should have been escaped
        (r"\x41\q", r"\x41\q"),  # escapes that JSON does not have
        (r"\u12x", r"\u12x"),
        (r"\uq", r"\uq"),
        (r"\\u0041", r"\u0041"),
        ("\ud83dx", "\ufffdx"),
    ],
)
@given(cuts=CUTS)
def test_escapes_may_be_cut_anywhere(inside: str, expected: str, cuts: list[int]) -> None:
    arguments = f'{{"input":"{inside}"}}'
    assert unwrapped(arguments, cuts) == expected
    assert unwrapped(arguments, list(range(99))) == expected


def test_text_comes_as_soon_as_it_is_known() -> None:
    pieces = ['{"inp', 'ut": "ab', "c\\", 'n\\"d', "\\ud83d", "\\ude0", '0e"', ', "x": "y"', "}"]
    unwrapper = Unwrapper()
    said = [unwrapper.feed(piece) for piece in pieces]
    assert said == ["", "ab", "c", '\n"d', "", "", "😀e", "", ""]
    assert unwrapper.close() == ""


@pytest.mark.parametrize(
    "arguments",
    ["", "{}", '{"other":"x"}', '{"input":5}', '{"input":["x"]}', '["input"]', '"text"', "text",
     '{"input', '{"a":1,"input":"x"}', "{" * 1000, " " * 300 + '{"input":"x"}', "\ud83d"],
)  # fmt: skip
@given(cuts=CUTS)
def test_another_shape_comes_out_unchanged_at_the_end(arguments: str, cuts: list[int]) -> None:
    unwrapper = Unwrapper()
    bounds = sorted({0, len(arguments), *(cut for cut in cuts if cut < len(arguments))})
    for start, end in itertools.pairwise(bounds):
        assert unwrapper.feed(arguments[start:end]) == ""
    assert unwrapper.close() == arguments


@pytest.mark.parametrize(
    ("over", "found"), [(-1, True), (0, True), (1, False)], ids=["under", "full", "over"]
)
@given(cuts=st.lists(st.integers(LONGEST_OPENING - 20, LONGEST_OPENING + 5)))
def test_an_opening_has_to_come_soon(over: int, cuts: list[int], *, found: bool) -> None:
    opening = '{"input": "'.rjust(LONGEST_OPENING + over)
    arguments = f'{opening}x"}}'
    assert unwrapped(arguments, cuts) == ("x" if found else arguments)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ('{"input":"ab', "ab"),
        ('{"input":"ab\\', "ab"),
        ('{"input":"ab\\u00', "ab"),
        ('{"input":"ab\\ud83d', "ab\ufffd"),
        ('{"input":"ab\\ud83d\\ude', "ab\ufffd"),
        ('{"input":"', ""),
    ],
)
def test_input_that_was_cut_off_keeps_what_was_whole(arguments: str, expected: str) -> None:
    assert unwrapped(arguments, []) == expected
    assert unwrapped(arguments, list(range(99))) == expected


def test_the_schema_asks_for_the_field() -> None:
    schema = json.loads(SCHEMA)
    assert schema["required"] == list(schema["properties"]) == [FIELD]
