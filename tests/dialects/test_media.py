"""Data URLs and ids, in the spellings that clients really send."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rawproxy.dialects.call import Base64, Source, Url
from rawproxy.dialects.media import data_url, read_url, safe_id


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("data:image/png;base64,aGk=", (Base64("aGk="), "image/png")),
        ("DATA:image/PNG;charset=x;BASE64,aGk=", (Base64("aGk="), "image/png")),
        ("data:;base64,aGk=", (Base64("aGk="), None)),
        ("data:image/png;base64,", (Base64(""), "image/png")),
        ("data:image/png;base64,a\nb", (Base64("a\nb"), "image/png")),
        ("data:text/plain,hi", (Url("data:text/plain,hi"), None)),
        ("data:text/plain;base64;x=1,aGk=", (Url("data:text/plain;base64;x=1,aGk="), None)),
        ("https://example.com/a.png", (Url("https://example.com/a.png"), None)),
        ("", (Url(""), None)),
    ],
)
def test_a_url_field_is_read(url: str, expected: tuple[Source, str | None]) -> None:
    assert read_url(url) == expected


@given(mime=st.from_regex(r"[a-z]{1,9}/[a-z0-9.+-]{1,9}", fullmatch=True), data=st.binary())
def test_what_is_written_is_read(mime: str, data: bytes) -> None:
    text = data.hex()
    assert read_url(data_url(mime, text)) == (Base64(text), mime)


@pytest.mark.parametrize("wanted", ["a", "call_1-B", "x" * 64])
def test_a_safe_id_stays(wanted: str) -> None:
    assert safe_id(wanted, 64) == wanted


@pytest.mark.parametrize("wanted", ["", "a.b", "a b", "ü", "\ud83d", "x" * 65, "functions.get:0"])
def test_another_id_gets_a_stand_in(wanted: str) -> None:
    known = safe_id(wanted, 64)
    assert known != wanted
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", known)


@given(one=st.text(), other=st.text(), longest=st.sampled_from([40, 64]))
def test_ids_are_equal_when_they_were(one: str, other: str, longest: int) -> None:
    assert (safe_id(one, longest) == safe_id(other, longest)) is (one == other)
    assert safe_id(safe_id(one, longest), longest) == safe_id(one, longest)
    assert len(safe_id(one, longest)) <= longest
