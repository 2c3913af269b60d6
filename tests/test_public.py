"""What `rawproxy` offers: what it lists is there, and costs nothing before it is used."""

import pytest

import rawproxy
from tests.modules import loaded_by


@pytest.mark.parametrize("name", rawproxy.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(rawproxy, name) is not None


def test_nothing_else_is() -> None:
    assert dir(rawproxy) == sorted(rawproxy.__all__)
    with pytest.raises(AttributeError, match=r"'rawproxy' has no attribute 'nothing'"):
        rawproxy.nothing  # type: ignore[attr-defined] # noqa: B018


def test_the_pure_parts_need_no_io() -> None:
    (frame,) = rawproxy.Splitter().feed(b"data: 1\n\n")
    assert frame.data == b"1"
    assert [str(one) for one in rawproxy.validate("openai_chat", b"data: {\n\n")] != []
    with pytest.raises(rawproxy.RawproxyError):
        rawproxy.translate.call(b"", "openai_chat", "openai_chat")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("use", "absent"),
    [
        ("", ["trio", "msgspec", "h11", "click", "ssl", "rawproxy.errors"]),
        (
            "rawproxy.Splitter, rawproxy.validate, rawproxy.translate",
            ["trio", "ssl", "socket", "click"],
        ),
        (
            "from rawproxy.dialects import DIALECTS\n[*DIALECTS.values()]",
            ["trio", "ssl", "socket", "click"],
        ),
    ],
)
def test_what_an_import_brings_along(use: str, absent: list[str]) -> None:
    assert loaded_by(f"import rawproxy\n{use}") & set(absent) == set()
