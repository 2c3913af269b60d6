"""rawproxy.dialects.bedrock_converse.formats: words for media types, and back."""

import pytest

from rawproxy.dialects.bedrock_converse.formats import KNOWN, Family, format_of, mime_of


@pytest.mark.parametrize(
    ("family", "word", "mime"),
    [
        ("image", "jpeg", "image/jpeg"),
        ("document", "md", "text/markdown"),
        ("document", "pages", "document/pages"),
        ("video", "three_gp", "video/3gpp"),
        ("video", "avi", "video/avi"),
        ("image", None, None),
    ],
)
def test_formats_come_back(family: Family, word: str | None, mime: str | None) -> None:
    assert mime_of(family, word) == mime
    assert format_of(family, mime) == word


@pytest.mark.parametrize("family", list(KNOWN))
def test_no_two_formats_are_one_type(family: Family) -> None:
    assert {format_of(family, mime_of(family, word)) for word in KNOWN[family]} == KNOWN[family]


def test_other_names_of_a_type() -> None:
    assert format_of("image", "image/jpg") == "jpeg"
    assert format_of("document", "text/x-markdown") == "md"
