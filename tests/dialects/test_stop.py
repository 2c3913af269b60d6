"""Stop sequences: the same end however the text is cut, and nothing held back without need."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rawproxy.dialects.stop import StopFilter

LETTERS = st.text("ab", max_size=30)
SEQUENCES = st.lists(st.text("ab", max_size=6), max_size=4)


def slowly(text: str, sequences: list[str]) -> tuple[str, str | None]:
    """Return what comes out, and what matched: the first to be complete, then the longest."""
    found = [
        (text.find(one) + len(one), -len(one), one) for one in sequences if one in text and one
    ]
    if not found:
        return text, None
    end, _, hit = min(found)
    return text[: end - len(hit)], hit


def held(text: str, sequences: list[str]) -> int:
    """Return the length of the longest end of `text` that begins a sequence."""
    return max(
        (size for one in sequences for size in range(len(one)) if text.endswith(one[:size])),
        default=0,
    )


@given(text=LETTERS, sequences=SEQUENCES, cuts=st.lists(st.integers(0, 30)))
def test_cuts_never_change_the_text(text: str, sequences: list[str], cuts: list[int]) -> None:
    bounds = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    stop = StopFilter(sequences)
    out = "".join(stop.feed(text[start:end]) for start, end in itertools.pairwise(bounds))
    assert (out + stop.close(), stop.hit) == slowly(text, sequences)
    assert stop.close() == ""


@given(text=LETTERS, sequences=SEQUENCES)
def test_only_the_beginning_of_a_sequence_is_held_back(text: str, sequences: list[str]) -> None:
    stop = StopFilter(sequences)
    out = ""
    for end, char in enumerate(text, start=1):
        out += stop.feed(char)
        if stop.hit is not None:
            break
        assert out == text[: end - held(text[:end], sequences)]


@pytest.mark.parametrize(
    ("sequences", "text", "out", "hit"),
    [
        pytest.param(["\n\n"], "one\n\ntwo", "one", "\n\n", id="in the middle"),
        pytest.param(["one"], "one", "", "one", id="at the start"),
        pytest.param(["b", "ab"], "ab", "", "ab", id="complete together: the longer"),
        pytest.param(["ab", "a"], "ab", "", "a", id="start together: the shorter"),
        pytest.param(["abcd", "bc"], "abcd", "a", "bc", id="complete first wins over start first"),
        pytest.param(["aab"], "aaab", "a", "aab", id="overlaps itself"),
        pytest.param(["ab"], "xa", "xa", None, id="half of one at the end"),
        pytest.param(["", "b"], "ab", "a", "b", id="an empty one is ignored"),
        pytest.param([""], "ab", "ab", None, id="only an empty one"),
        pytest.param([], "ab", "ab", None, id="none"),
        pytest.param(["é😀"], "é😀", "", "é😀", id="beyond ASCII"),
    ],
)
def test_what_matches(sequences: list[str], text: str, out: str, hit: str | None) -> None:
    stop = StopFilter(sequences)
    assert (stop.feed(text) + stop.close(), stop.hit) == (out, hit)


def test_nothing_comes_out_after_a_hit() -> None:
    stop = StopFilter(["stop"])
    assert stop.feed("go stop go") == "go "
    assert stop.feed("more") == ""
    assert stop.close() == ""
    assert stop.hit == "stop"


class Counted(str):
    """A sequence that counts how often it is looked at."""

    __slots__ = ("looks",)

    looks: int

    def __getitem__(self, index: object) -> str:
        self.looks += 1
        return super().__getitem__(index)  # type: ignore[index]


def test_a_sequence_that_repeats_itself_costs_no_more() -> None:
    """Each character is compared at most twice, taken over the whole text."""
    sequence = Counted("a" * 500 + "b")
    sequence.looks = 0
    stop = StopFilter([sequence])
    text = ("a" * 499 + "c") * 20
    sequence.looks = 0
    assert stop.feed(text) + stop.close() == text
    assert sequence.looks <= 3 * len(text)
