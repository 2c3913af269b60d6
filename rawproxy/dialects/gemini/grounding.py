"""What a reply rests on: `groundingMetadata` and `citationMetadata`, and notes.

Layer: dialects. Used by the reader and the writer of `gemini`. A segment is told in bytes of all the
text of its candidate; a note counts code points of its block.
Source: https://ai.google.dev/api/generate-content#GroundingMetadata
"""

from collections.abc import Iterable

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from rawproxy.dialects.events import Note
from rawproxy.dialects.gemini.spelling import GEMINI, Item, said
from rawproxy.dialects.reading import decode

__all__ = ["TextMap", "read_citations", "read_grounding", "write_grounding"]


class _Page(msgspec.Struct):
    uri: str | None = None
    title: str | None = None


class _Chunk(msgspec.Struct, rename="camel"):
    web: _Page | None = None
    retrieved_context: _Page | None = None
    maps: _Page | None = None


class _Segment(msgspec.Struct, rename="camel"):
    start_index: int | float | None = None
    end_index: int | float | None = None
    text: str | None = None


class _Support(msgspec.Struct, rename="camel"):
    segment: _Segment | None = None
    grounding_chunk_indices: list[int] | None = None


class _Grounding(msgspec.Struct, rename="camel"):
    grounding_chunks: list[_Chunk] | None = None
    grounding_supports: list[_Support] | None = None


class _Citation(msgspec.Struct, rename="camel"):
    start_index: int | float | None = None
    end_index: int | float | None = None
    uri: str | None = None
    title: str | None = None


class _Citations(msgspec.Struct, rename="camel"):
    citations: list[_Citation] | None = None
    citation_sources: list[_Citation] | None = None


class TextMap:
    """The text of one candidate, block by block."""

    def __init__(self) -> None:
        self._blocks: dict[int, list[str]] = {}

    def add(self, block: int, text: str) -> None:
        """Take more text of a block."""
        self._blocks.setdefault(block, []).append(text)

    def gap(self, text: str) -> None:
        """Take text that stands between two blocks."""
        self._blocks[-1 - len(self._blocks)] = [text]

    def has(self, block: int) -> bool:
        """Return whether there is text of a block."""
        return block in self._blocks

    @property
    def last(self) -> int | None:
        """The last block; None before the first."""
        return next(reversed(self._blocks), None)

    def find(self, start: int, end: int) -> tuple[int, int, int] | None:
        """Return the block that bytes `start` to `end` lie in, and their span there in code points."""
        before = 0
        for block, pieces in self._blocks.items():
            data = "".join(pieces).encode("utf-8", "surrogatepass")
            if start < before + len(data):
                span = (max(0, start - before), min(len(data), end - before))
                points = [len(data[:at].decode("utf-8", "ignore")) for at in span]
                return (block, *points) if end > start else None  # type: ignore[return-value]
            before += len(data)
        return None

    def bytes_of(self, note: Note) -> tuple[int, int, str] | None:
        """Return the span of a note in bytes of the candidate's text, and what stands there."""
        before = 0
        for block, pieces in self._blocks.items():
            text = "".join(pieces)
            if block == note.block and note.end is not None:
                start = note.start or 0
                first, quoted = (_size(text[:start]), text[start : note.end])
                return before + first, before + first + _size(quoted), quoted
            before += _size(text)
        return None


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def read_grounding(raw: Raw, text: TextMap) -> list[Note]:
    """Return a note for each source of each segment, or for each source where there are none.

    Raises:
        ValueError: the metadata are of another shape.
    """
    found = decode(raw, _Grounding)
    pages = [one.web or one.retrieved_context or one.maps for one in found.grounding_chunks or ()]
    notes: list[Note] = []
    for support in found.grounding_supports or ():
        segment = support.segment or _Segment()
        for at in support.grounding_chunk_indices or ():
            page = pages[at] if 0 <= at < len(pages) else None
            if page is not None:
                notes += _note(page, segment.start_index, segment.end_index, text)
    if not notes:
        notes = [note for page in pages if page for note in _note(page, None, None, text)]
    return notes


def read_citations(raw: Raw, text: TextMap) -> list[Note]:
    """Return a note for each citation. ValueError where the metadata are of another shape."""
    found = decode(raw, _Citations)
    listed = found.citations or found.citation_sources or ()
    return [
        note
        for one in listed
        for note in _note(_Page(one.uri, one.title), one.start_index, one.end_index, text)
    ]


def _note(page: _Page, start: float | None, end: float | None, text: TextMap) -> list[Note]:
    block = text.last
    if block is None or not (page.uri or page.title):
        return []
    note = Note(block, page.uri, page.title, dialect=GEMINI)
    span = None if end is None else text.find(int(start or 0), int(end))
    if span is None:
        return [note]
    return [replace(note, block=span[0], start=span[1], end=span[2])]


def write_grounding(notes: Iterable[Note], text: TextMap) -> Item:
    """Return the metadata that say `notes`, each of which names an address."""
    pages: dict[tuple[str | None, str | None], int] = {}
    supports: dict[tuple[int, int, str], list[int]] = {}
    for note in notes:
        at = pages.setdefault((note.url, note.title), len(pages))
        if (span := text.bytes_of(note)) is not None:
            supports.setdefault(span, []).append(at)
    item: Item = {"groundingChunks": [{"web": said(uri=uri, title=title)} for uri, title in pages]}
    if supports:
        item["groundingSupports"] = [
            {
                "segment": {"startIndex": start, "endIndex": end, "text": quoted},
                "groundingChunkIndices": indices,
            }
            for (start, end, quoted), indices in supports.items()
        ]
    return item
