"""rawproxy.dialects.gemini.grounding: what a reply rests on."""

import json
from typing import Any

import pytest
from msgspec import Raw

from rawproxy.dialects.events import Note
from rawproxy.dialects.gemini.grounding import (
    TextMap,
    read_citations,
    read_grounding,
    write_grounding,
)

PAGES = [{"web": {"uri": "u0", "title": "t0"}}, {"retrievedContext": {"uri": "u1"}}, {"image": {}}]


def texts(*said: str) -> TextMap:
    found = TextMap()
    for block, text in enumerate(said):
        found.add(block, text)
    return found


def grounding(**members: Any) -> Raw:
    return Raw(json.dumps(members).encode())


def spans(notes: list[Note]) -> list[tuple[int, str | None, int | None, int | None]]:
    return [(note.block, note.url, note.start, note.end) for note in notes]


@pytest.mark.parametrize(
    ("segment", "found"),
    [
        ({"endIndex": 4}, (0, "u0", 0, 3)),  # "né!" has four bytes
        ({"startIndex": 1, "endIndex": 3}, (0, "u0", 1, 2)),
        ({"startIndex": 4, "endIndex": 6}, (1, "u0", 0, 2)),
        ({"startIndex": 9, "endIndex": 12}, (1, "u0", None, None)),
        ({"startIndex": 2, "endIndex": 2}, (1, "u0", None, None)),
        ({}, (1, "u0", None, None)),
    ],
)
def test_a_segment_in_bytes_is_a_span_in_code_points(segment: Any, found: Any) -> None:
    raw = grounding(
        groundingChunks=PAGES,
        groundingSupports=[{"segment": segment, "groundingChunkIndices": [0, 2, 7]}],
    )
    assert spans(read_grounding(raw, texts("né!", "xyz"))) == [found]


def test_sources_without_segments() -> None:
    raw = grounding(groundingChunks=PAGES, groundingSupports=[{}])
    notes = read_grounding(raw, texts("a"))
    assert spans(notes) == [(0, "u0", None, None), (0, "u1", None, None)]
    assert read_grounding(raw, TextMap()) == []
    assert read_grounding(grounding(groundingChunks=[{"web": {}}]), texts("a")) == []


def test_citations() -> None:
    one = {"startIndex": 0, "endIndex": 1, "uri": "u", "title": "t"}
    for name in ("citations", "citationSources"):
        raw = grounding(**{name: [one, {"license": "x"}]})
        assert spans(read_citations(raw, texts("ab"))) == [(0, "u", 0, 1)]
    assert read_citations(grounding(), texts("ab")) == []


def test_notes_are_written_as_grounding_and_read_again() -> None:
    text = texts("né!", "xyz")
    text.gap("--")
    text.add(7, "end")
    notes = [
        Note(0, "u", "t", start=1, end=3), Note(1, "v", end=1), Note(1, "u", "t", end=1),
        Note(7, "w"), Note(7, "w", start=0, end=3), Note(9, "x", end=1),
    ]  # fmt: skip
    written = write_grounding(notes, text)
    assert written["groundingChunks"] == [
        {"web": {"uri": "u", "title": "t"}}, {"web": {"uri": "v"}}, {"web": {"uri": "w"}},
        {"web": {"uri": "x"}},
    ]  # fmt: skip
    assert written["groundingSupports"] == [
        {"segment": {"startIndex": 1, "endIndex": 4, "text": "é!"}, "groundingChunkIndices": [0]},
        {"segment": {"startIndex": 4, "endIndex": 5, "text": "x"}, "groundingChunkIndices": [1, 0]},
        {"segment": {"startIndex": 9, "endIndex": 12, "text": "end"}, "groundingChunkIndices": [2]},
    ]
    assert "groundingSupports" not in write_grounding([Note(0, "u")], text)
    assert text.has(7)
    assert not text.has(8)
    assert text.last == 7
