"""Every text becomes tokens and is itself again; what is counted is what would be encoded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rawproxy.engines.tokenizer import BYTES, Tokenizer, pieces

TOKENIZER = Tokenizer("The river runs to the sea. The rivers run on.")
ANY = st.text(st.characters(), max_size=60) | st.text(
    "Ther iv.\n\u00e9\ud83d\ude00😀\x00", max_size=60
)


@given(ANY)
def test_every_text_is_itself_again(text: str) -> None:
    tokens = TOKENIZER.encode(text)
    assert TOKENIZER.decode(tokens) == text
    assert all(0 <= token < TOKENIZER.size for token in tokens)
    assert TOKENIZER.count(text) == len(tokens)


@given(ANY)
def test_pieces_join_to_their_text(text: str) -> None:
    assert "".join(pieces(text)) == text


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("", []),
        ("The river", ["The", " river"]),
        (" rivers.", [" rivers", "."]),
        ("  the\n", [" ", " the", "\n"]),
        ("seas", ["sea", "s"]),
        ("driver", ["d", "rive", "r"]),
        ("Q", ["Q"]),
    ],
)
def test_how_texts_are_spelled(text: str, spelled: list[str]) -> None:
    tokens = TOKENIZER.encode(text)
    assert [TOKENIZER.decode([token]) for token in tokens] == spelled


def test_what_the_corpus_lacks_is_bytes() -> None:
    assert TOKENIZER.encode("é") == list("é".encode())
    assert TOKENIZER.encode("\ud83d") == [0xED, 0xA0, 0xBD]


def test_half_a_character_is_no_text() -> None:
    with pytest.raises(UnicodeDecodeError):
        TOKENIZER.decode([0xC3])


def test_no_corpus_leaves_the_bytes() -> None:
    bare = Tokenizer("")
    assert bare.size == BYTES
    assert bare.decode(bare.encode("any text")) == "any text"
