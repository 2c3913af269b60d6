"""What is told, what is refused, what is passed over; and the header that tells it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rawproxy.dialects.losses import HEADER_BYTES, Loss, Why, header, policy, refuse, told
from rawproxy.errors import Untranslatable

NOTHING: Why = "no such thing there"


def lost(*paths: str) -> list[Loss]:
    return [Loss(path, NOTHING) for path in paths]


@pytest.mark.parametrize(
    ("path", "field", "expected"),
    [
        ("seed", "seed", "tell"),
        ("messages[3].content[12].cache_control", "messages[].content[].cache_control", "tell"),
        ("messages[0].name", "messages[].name", "silent"),
        ("tools[7].type", "tools[].type", "silent"),
        ("store", "store", "silent"),
        ("n", "n", "refuse"),
        ("messages[0].content[1].input_audio", "messages[].content[].input_audio", "refuse"),
        ("mcp_servers", "mcp_servers", "refuse"),
        ("[1]", "[]", "tell"),
        ("", "", "tell"),
    ],
)
def test_each_field_has_its_policy(path: str, field: str, expected: str) -> None:
    loss = Loss(path, NOTHING)
    assert (loss.field, policy(loss)) == (field, expected)


def test_every_loss_that_matters_is_told_once_and_in_order() -> None:
    losses = lost("seed", "store", "messages[0].x", "messages[1].x", "seed", "n")
    assert told(losses) == lost("seed", "messages[0].x", "messages[1].x", "n")
    assert told([Loss("seed", "not this model"), *lost("seed")]) == [
        Loss("seed", "not this model"), *lost("seed")
    ]  # fmt: skip


def test_a_call_that_would_be_answered_wrongly_is_refused() -> None:
    with pytest.raises(Untranslatable) as caught:
        refuse(lost("seed", "n", "messages[0].content[1].input_audio", "n"))
    assert str(caught.value).endswith(": n, messages[].content[].input_audio")
    assert (caught.value.param, caught.value.code) == ("n", "unsupported")


@pytest.mark.parametrize("losses", [[], lost("seed", "store")])
def test_other_losses_refuse_nothing(losses: list[Loss]) -> None:
    refuse(losses)
    assert all(policy(loss) != "refuse" for loss in losses)


def test_the_header_names_each_field_once() -> None:
    losses = lost("messages[0].x", "store", "messages[4].x", "seed")
    assert header(losses) == b"messages[].x,seed"
    assert header(lost("store")) == b""
    assert header([]) == b""


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a,b", b"a?b"),
        ("a b\r\nx: y", b"a?b??x:?y"),
        ("größe\x7f\x00\t", b"gr??e???"),
        ("\ud83d", b"?"),
        ('"!-~,;', b'"!-~?;'),
        ("x" * 300, b"x" * 200),
    ],
)
def test_the_header_never_carries_what_would_break_it(path: str, expected: bytes) -> None:
    assert header(lost(path)) == expected


def test_fields_that_look_alike_in_the_header_are_named_once() -> None:
    assert header(lost("a b", "a,b")) == b"a?b"


@pytest.mark.parametrize(
    ("over", "names"), [(-1, 21), (0, 21), (1, 20)], ids=["under", "full", "over"]
)
def test_the_header_keeps_its_limit(over: int, names: int) -> None:
    fields = [f"{at:02}".ljust(99, "x") for at in range(20)]  # 20 * 100 bytes with their commas
    fields.append("y" * (HEADER_BYTES - 2000 + over))
    value = header(lost(*fields))
    assert value == ",".join(fields[:names]).encode()
    assert len(value) <= HEADER_BYTES


def test_a_field_that_fits_exactly_is_not_cut_with_those_behind_it() -> None:
    fields = [f"{at:02}".ljust(99, "x") for at in range(20)]
    fields.append("y" * (HEADER_BYTES - 2000))
    assert header(lost(*fields, "z")) == ",".join(fields).encode()


@given(paths=st.lists(st.text(max_size=250), max_size=40))
def test_the_header_is_visible_ascii(paths: list[str]) -> None:
    value = header(lost(*paths))
    assert len(value) <= HEADER_BYTES
    assert all(0x21 <= byte <= 0x7E for byte in value)
    assert value.count(b",") < max(1, len({loss.field for loss in told(lost(*paths))}))
