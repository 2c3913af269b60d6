"""rawproxy.dialects.openai_chat.reasoning_details: entries in pieces, sealed and rebuilt."""

import json

import pytest
from msgspec import Raw

from rawproxy.dialects.envelope import Origin
from rawproxy.dialects.openai_chat.reasoning_details import join, rebuild
from rawproxy.dialects.reading import decode, encode

HERE = Origin("openrouter")


def entry(**members: object) -> dict[str, Raw]:
    return decode(encode(members), dict[str, Raw])


def paths_and(*items: dict[str, Raw]) -> list[tuple[str, dict[str, Raw]]]:
    return [(f"d[{at}]", item) for at, item in enumerate(items)]


@pytest.mark.parametrize(
    ("items", "texts"),
    [
        # one index: pieces of one entry
        ([entry(type="t", index=0, text="a"), entry(type="t", index=0, text="b")], ["ab"]),
        ([entry(type="t", index=0, text="a"), entry(type="t", index=1, text="b")], ["a", "b"]),
        # without an index each is whole
        ([entry(type="t", text="a"), entry(type="t", text="b")], ["a", "b"]),
        # a block of LiteLLM goes on until it is signed
        (
            [
                entry(type="thinking", thinking="a"),
                entry(type="thinking", thinking="b", signature="s"),
                entry(type="thinking", thinking="c", signature="s"),
            ],
            ["ab", "c"],
        ),
        # a second signature is another entry
        (
            [entry(type="t", index=0, signature="s"), entry(type="t", index=0, signature="s")],
            ["", ""],
        ),
        # a text that is none says nothing
        ([entry(type="t", text=5)], [""]),
        ([entry(type="t", text=None)], [""]),
    ],
)
def test_pieces_join(items: list[dict[str, Raw]], texts: list[str]) -> None:
    assert [found.text for found in join(paths_and(*items))] == texts


def test_the_path_is_the_first_piece_s() -> None:
    pieces = [entry(type="t", index=0, text="a"), entry(type="t", index=0, text="b")]
    assert [found.path for found in join(paths_and(*pieces))] == ["d[0]"]


@pytest.mark.parametrize(
    ("item", "form"),
    [
        (entry(type="reasoning.text", text="a", signature="c2ln", index=0), "reasoning_details"),
        (entry(type="reasoning.summary", summary="a", format="f"), "reasoning_details"),
        (entry(type="reasoning.encrypted", data="ZGF0YQ==", id="r1"), "reasoning_details"),
        (entry(type="thinking", thinking="a", signature="c2ln"), "thinking"),
        (entry(type="redacted_thinking", data="ZGF0YQ=="), "redacted_thinking"),
    ],
)
def test_a_sealed_entry_is_rebuilt_whole(item: dict[str, Raw], form: str) -> None:
    (found,) = join([("d", item)])
    sealed = found.seal(HERE)
    assert sealed is not None
    assert (sealed.form, sealed.origin) == (form, HERE)
    assert sealed.covers(found.text)
    assert json.loads(encode(rebuild(sealed, found.text))) == json.loads(encode(item))


def test_the_carrier_is_the_signature_or_the_data() -> None:
    found = join(paths_and(entry(signature="s", data="d"), entry(data="d"), entry(text="t")))
    assert [one.carrier for one in found] == ["s", "d", ""]


def test_nothing_but_text_is_no_seal() -> None:
    (found,) = join([("d", entry(type="reasoning.text", index=0, text="a"))])
    assert found.seal(HERE) is None


def test_the_order_of_the_pieces_does_not_show() -> None:
    whole = join([("d", entry(type="t", text="ab", signature="s", format="f", index=0))])
    parts = join(
        paths_and(
            entry(type="t", text="ab", format="f", index=0),
            entry(type="t", signature="s", format="f", index=0),
        )
    )
    assert whole[0].seal(HERE) == parts[0].seal(HERE)
