"""Objects are read field by field; what is wrong is named by its path, and never quoted."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from rawproxy.dialects.reading import Fields, decode, documents, encode
from rawproxy.errors import ClientError

SECRET = "hunter2"  # stands for whatever a client sent
DEEP = 100_000
"""Brackets: far more than any parser that recurses can follow."""

Take = Callable[[Fields, str], object]


def of(text: str) -> Fields:
    return Fields.of(text.encode(), "messages[0]")


def raw(fields: Fields, name: str) -> object:
    return bytes(fields.raw(name))


def path_of(fields: Fields, name: str) -> object:
    found = fields.object(name)
    return None if found is None else found.path


def paths_of(fields: Fields, name: str) -> object:
    return [found.path for found in fields.objects(name)]


@pytest.mark.parametrize(
    ("take", "text", "expected"),
    [
        # taker, the field's JSON, what it gives
        (Fields.text, '"ü\\n"', "ü\n"),
        (Fields.text, '""', ""),
        (Fields.needed, '"x"', "x"),
        (Fields.flag, "true", True),
        (Fields.flag, "false", False),
        (Fields.whole, "3", 3),
        (Fields.whole, "3.0", 3),
        (Fields.whole, "1e3", 1000),
        (Fields.whole, "-1", -1),
        (Fields.whole, "9007199254740993", 2**53 + 1),  # a float could not hold it
        (Fields.whole, "340282366920938463463374607431768211456", 2**128),
        (Fields.number, "0.5", 0.5),
        (Fields.number, "1", 1),
        (Fields.texts, '["a","b"]', ["a", "b"]),
        (Fields.texts, "[]", []),
        (path_of, "{}", "messages[0].f"),
        (paths_of, "[{},{}]", ["messages[0].f[0]", "messages[0].f[1]"]),
        (paths_of, "[]", []),
        (raw, ' { "a" : 1.0 } ', b'{ "a" : 1.0 }'),
    ],
)
def test_a_field_is_taken(take: Take, text: str, expected: object) -> None:
    fields = of(f'{{"f":{text},"g":1}}')
    found = take(fields, "f")
    assert found == expected
    assert type(found) is type(expected)  # 1 stays 1, and 3.0 does not
    assert fields.rest() == {"messages[0].g": b"1"}


@pytest.mark.parametrize("text", ["{}", '{"f":null}', '{ "f" : null }'])
@pytest.mark.parametrize(
    ("take", "expected"),
    [
        (Fields.text, None),
        (Fields.flag, None),
        (Fields.whole, None),
        (Fields.number, None),
        (Fields.texts, None),
        (Fields.object, None),
        (Fields.objects, []),
        (raw, b""),
        (Fields.has, False),
        (Fields.is_text, False),
    ],
)
def test_null_reads_as_absent(take: Take, expected: object, text: str) -> None:
    fields = of(text)
    assert take(fields, "f") == expected
    assert fields.rest() == {}


@pytest.mark.parametrize(
    ("take", "text", "expected"),
    [
        # taker, a wrong value, what the message says of it
        (Fields.text, "1", "a string"),
        (Fields.text, f'["{SECRET}"]', "a string"),
        (Fields.needed, "false", "a string"),
        (Fields.flag, f'"{SECRET}"', "true or false"),
        (Fields.flag, "0", "true or false"),
        (Fields.whole, f'"{SECRET}"', "a whole number"),
        (Fields.whole, "1.5", "a whole number"),
        (Fields.whole, "1e400", "a whole number"),
        (Fields.whole, "1" * 5000, "a whole number"),
        (Fields.whole, "true", "a whole number"),
        (Fields.number, f'"{SECRET}"', "a number"),
        (Fields.number, "[1]", "a number"),
        (Fields.texts, f'"{SECRET}"', "a list of strings"),
        (Fields.texts, "[1]", "a list of strings"),
        (Fields.texts, '["a",null]', "a list of strings"),
        (Fields.object, f'"{SECRET}"', "not a JSON object"),
        (Fields.object, "[]", "not a JSON object"),
        (Fields.objects, "{}", "a list of objects"),
        (Fields.objects, f'["{SECRET}"]', "a list of objects"),
        (Fields.objects, "[null]", "a list of objects"),
    ],
)
def test_a_wrong_field_is_named_and_not_quoted(take: Take, text: str, expected: str) -> None:
    with pytest.raises(ClientError) as caught:
        take(of(f'{{"f":{text}}}'), "f")
    message = str(caught.value)
    assert message.startswith("messages[0].f")
    assert message.endswith(expected)
    assert caught.value.param == "messages[0].f"
    assert SECRET not in message
    assert len(message) < 60


@pytest.mark.parametrize("text", ["{}", '{"f":null}'])
def test_a_needed_field_has_to_be_there(text: str) -> None:
    with pytest.raises(ClientError, match=r"^messages\[0\]\.f: field required$") as caught:
        of(text).needed("f")
    assert caught.value.param == "messages[0].f"


def test_looking_takes_nothing() -> None:
    fields = of('{"text":"x","number":1,"null":null}')
    assert [fields.has(name) for name in ("text", "number", "null", "none")] == [1, 1, 0, 0]
    assert [fields.is_text(name) for name in ("text", "number", "null", "none")] == [1, 0, 0, 0]
    assert fields.text("text") == "x"
    assert fields.text("text") is None


def test_of_a_table_the_fields_are_named_that_are_there_and_not_null() -> None:
    table = [("limit", "old"), ("limit", "new"), ("seed", "seed"), ("tier", "tier"), ("n", "n")]
    body = Fields.of(b'{"new":1,"seed":null,"old":0,"other":2}')
    assert body.named(table) == {"limit": "new"}
    assert of('{"old":false,"n":0}').named(table) == {
        "limit": "messages[0].old",
        "n": "messages[0].n",
    }
    assert of("{}").named(table) == {}


def test_paths_lead_from_the_body_to_the_field() -> None:
    body = Fields.of(b'{"a":{"b":[{},{"c":"x","d":[1, 2],"e":null}]},"f":1.50}')
    a = body.object("a")
    assert a is not None
    item = a.objects("b")[1]
    assert item.at("c") == "a.b[1].c"
    assert item.rest() == {"a.b[1].c": b'"x"', "a.b[1].d": b"[1, 2]"}
    assert body.rest() == {"f": b"1.50"}


@pytest.mark.parametrize(
    "body",
    [
        b"", b" ", b"null", b"[]", b'"x"', b"1", b"{", b'{"a":1,}', b'{"a":NaN}', b'{"a":Infinity}',
        b"{'a':1}", b'{"a":1}{}', b"\xff", b'{"\xff":1}', b'{"a":01}', b'{"a":"\n"}', b'{1:2}',
        b'\xef\xbb\xbf{"a":1}', b"data: {}", b"[" * DEEP, b'{"a":' * DEEP,
        b'{"a":' + b"[" * DEEP + b"]" * DEEP + b"}",
    ],
)  # fmt: skip
def test_a_body_that_is_no_object_is_the_client_s_fault(body: bytes) -> None:
    with pytest.raises(ClientError, match=r"^the body is not a JSON object$") as caught:
        Fields.of(body)
    assert caught.value.param is None


def test_a_key_that_is_there_twice_counts_once_and_last() -> None:
    fields = Fields.of(b'{"model":"a","model":"b"}')
    assert fields.rest() == {"model": b'"b"'}
    assert fields.text("model") == "b"


@pytest.mark.parametrize("kind", [Raw, object, dict[str, Raw]])
def test_depth_is_a_value_error(kind: type[object]) -> None:
    for bomb in (b"[" * DEEP, b"[" * DEEP + b"]" * DEEP, b'{"a":' * DEEP):
        with pytest.raises(ValueError, match=r"nested too deep|Expected `object`"):
            decode(bomb, kind)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r'"\ud83d\ude00"', "😀"),
        (r'"\uD83D\uDE00"', "😀"),
        (r'"\ud83d"', "\ufffd"),
        (r'"\ude00"', "\ufffd"),
        (r'"a\ud83db"', "a\ufffdb"),
        (r'"\ud83d\ud83d\ude00"', "\ufffd😀"),
        (r'"\ude00\ud83d\ude00"', "\ufffd😀"),
        (r'"\ud83d\\ude00"', "\ufffd\\ude00"),  # a backslash, and no escape after it
        (r'"\\ud83d\ud83d"', "\\ud83d\ufffd"),
        (r'"\\\ud83d"', "\\\ufffd"),
        (r'"\\\\\ud83d"', "\\\\\ufffd"),
        (r'"\n\ud83d\u0041"', "\n\ufffdA"),
    ],
)
def test_half_a_surrogate_pair_reads_as_a_replacement(text: str, expected: str) -> None:
    assert decode(text.encode(), str) == expected
    assert decode(b'{"unread":%b}' % text.encode(), dict[str, Raw])


@given(
    units=st.lists(
        st.sampled_from(
            ["\\ud83d", "\\ude00", "\\uDBFF", "\\udc00", "\\\\", "\\n", "u", "d83d", "é"]
        )
    )
)
def test_halves_are_repaired_wherever_they_stand(units: list[str]) -> None:
    expected = msgspec_free_decode("".join(units))
    assert decode(f'"{"".join(units)}"'.encode(), str) == expected


def msgspec_free_decode(escaped: str) -> str:
    """Read the inside of a JSON string one escape at a time, as slowly as it is simple."""
    units = b""
    while escaped:
        if escaped.startswith("\\u"):
            units += int(escaped[2:6], 16).to_bytes(2, "little")
            escaped = escaped[6:]
        elif escaped.startswith("\\"):
            units += {"\\": "\\", "n": "\n"}[escaped[1]].encode("utf-16-le")
            escaped = escaped[2:]
        else:
            units += escaped[0].encode("utf-16-le")
            escaped = escaped[1:]
    return units.decode("utf-16-le", "replace")


def test_a_fault_beside_half_a_pair_stays_a_fault() -> None:
    with pytest.raises(ValueError, match="Expected `int`"):
        decode(rb'"\ud83d"', int)


def test_raw_json_is_written_as_it_stands() -> None:
    assert encode({"a": Raw(b"1.50"), "b": "ü"}) == '{"a":1.50,"b":"ü"}'.encode()


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b" \n", []),
        (b' {"a":1}', [b'{"a":1}']),
        (b'{"a": "}{"}\n[] 1 ', [b'{"a": "}{"}', b"[]", b"1"]),
        (b'"\xff\xc3\xbc"', ['"\ufffdü"'.encode()]),
        (b"{} [DONE] {", [b"{}", b"[DONE]"]),
    ],
)
def test_documents_in_a_row(data: bytes, found: list[bytes]) -> None:
    assert documents(data) == found


@pytest.mark.parametrize("data", [b"{", b"{}x", b"{} [DONE", b"[" * DEEP, b"9" * 4301])
def test_what_is_no_document_spoils_all(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        documents(data)
