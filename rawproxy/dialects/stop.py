"""Stop sequences: let a text through up to the first of them, and hold back as little as possible.

Layer: dialects. Knows text. Knows no tokens and no events.

The match that is complete first wins; of those that are complete at the same character, the one
that starts first, which is the longest. So what is decided never waits for what may still come, and
how a text is cut into feeds changes nothing.

Each sequence has the failure table of Knuth, Morris and Pratt: a character costs constant time,
taken over the whole text, however much the sequences repeat themselves.
Source: https://doi.org/10.1137/0206024
"""

from collections.abc import Sequence

__all__ = ["StopFilter"]


class StopFilter:
    """A feeder of text that ends before the first stop sequence.

    Args:
        sequences: what to stop at, in any order; empty ones are ignored.
    """

    def __init__(self, sequences: Sequence[str]) -> None:
        self.hit: str | None = None
        """The sequence that matched; from then on nothing comes out."""
        self._searches = [_Search(sequence) for sequence in sequences if sequence]
        # What is held back begins a sequence, so that sequence and a length say all of it.
        self._held_of, self._held = "", 0

    def feed(self, text: str) -> str:
        """Return what may go out now.

        Held back is the longest end of the text so far that may be the beginning of a sequence.
        """
        if self.hit is not None:
            return ""
        if not self._searches:
            return text
        begun, held = self._held_of, self._held
        for end, char in enumerate(text, start=held + 1):
            complete = [search.sequence for search in self._searches if search.advance(char)]
            if complete:
                self.hit = max(complete, key=len)
                self._held = 0
                ready = end - len(self.hit)
                break
        else:
            longest = max(self._searches, key=lambda search: search.matched)
            self._held_of, self._held = longest.sequence, longest.matched
            ready = held + len(text) - longest.matched
        return begun[: min(ready, held)] + text[: max(0, ready - held)]

    def close(self) -> str:
        """Return what was held back: the text ended, so it begins no sequence."""
        held, self._held = self._held, 0
        return self._held_of[:held]


class _Search:
    """Looks for one sequence, a character at a time. `matched` of its characters were seen last."""

    __slots__ = ("_shorter", "matched", "sequence")

    def __init__(self, sequence: str) -> None:
        self.sequence = sequence
        self.matched = 0
        # After n characters matched, the next shorter beginning that the text ends with.
        self._shorter = [0] * (len(sequence) + 1)
        for size in range(2, len(sequence) + 1):
            self.matched = self._shorter[size - 1]
            self.advance(sequence[size - 1])
            self._shorter[size] = self.matched
        self.matched = 0

    def advance(self, char: str) -> bool:
        """Take the next character of the text; return whether it completes the sequence."""
        sequence = self.sequence
        matched = self.matched
        while matched and sequence[matched] != char:
            matched = self._shorter[matched]
        self.matched = matched + (sequence[matched] == char)
        return self.matched == len(sequence)
