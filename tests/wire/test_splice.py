"""Splicing JSON: the one value changes, every other byte stays."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rawproxy.errors import WireError
from rawproxy.wire.splice import (
    MAX_DEPTH,
    Span,
    edit,
    find,
    find_strings,
    members,
    removals,
    remove,
    replace,
    value,
)

# Documents whose top-level "model" has a plain value, made to mislead.
LOOKALIKES = {
    "in a string": rb'{"a": "\"model\": \"x\", ", "model": "old", "b": "{\"model\":1"}',
    "as a string": b'{"a": "model", "model": "old", "b": ["model"]}',
    "nested": b'{"a": {"model": "x"}, "model": "old", "b": [{"model": {"model": 1}}]}',
    "brackets in strings": b'{"a": "}{][", "model": "old", "b": "{[\\\\"}',
    "longer and shorter names": b'{"model_": 1, "_model": 2, "mode": 3, "model": "old"}',
    "escaped": rb'{"m\u006fd\u0065l": "old"}',
    "escaped in capitals": rb'{"mod\u0065\u006C": "old", "a": "\u006D"}',
    "spaces": b' \t\r\n{ "a"\n:\t1 ,\r"model" :\n "old" }\n ',
    "numbers and words": b'{"a":-1.5E+3,"b":true,"c":false,"d":null,"model":"old","e":0}',
    "a long number": b'{"a":' + b"9" * 5000 + b',"model":"old"}',
    "not ASCII": '{"\u00e4\U0001f600": "\u00e4\U0001f600", "model": "old"}'.encode(),
    "a control character": b'{"a": "\n\x00", "model": "old"}',
    "other keys twice": b'{"a":1,"a":2,"model":"old","":3,"":4}',
}
NO_OBJECTS = [
    b"",
    b"  ",
    b"null",
    b'"model"',
    b'["model"]',
    b'"model":1',
    b"{",
    b'{"a"',
    b'{"a":',
    b'{"a":1',
    b'{"a":1,',
    b'{"a":1,}',
    b"{,}",
    b'{"a" 1}',
    b'{"a":1 "b":2}',
    b"{a:1}",
    b"{'a':1}",
    b'{"a":[1}',
    b'{"a":{"b":1]}',
    b'{"a":"x}',
    b'{"a":nul}',
    b'{"a":1} x',
    b'{"a":1}{"b":2}',
    b"{}x",
    b'{"a":' + b"[" * 100_000,
    b'{"\xff":1}',
    rb'{"\x":1}',
]
KEYS = st.sampled_from(
    ["a", "b", "model", "mo", "", "\u00e4", '"', "\\", "a/b", "\U0001f600", "\n"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | KEYS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@st.composite
def spelled(draw: st.DrawFn, values: st.SearchStrategy[Any]) -> tuple[Any, bytes]:
    """A value and one of the ways to write it."""
    drawn = draw(values)
    return drawn, json.dumps(
        drawn,
        ensure_ascii=draw(st.booleans()),
        indent=draw(st.sampled_from([None, 1, "\t"])),
        separators=draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\r\n", "\t:  ")])),
    ).encode()


OBJECTS = spelled(st.dictionaries(KEYS, VALUES, max_size=4))


# --- one top-level member -------------------------------------------------------------------------


@pytest.mark.parametrize("body", LOOKALIKES.values(), ids=LOOKALIKES)
def test_lookalikes_do_not_mislead(body: bytes) -> None:
    assert value(body, "model") == b'"old"'
    at = body.index(b'"old"')
    assert replace(body, "model", b"{}") == body[:at] + b"{}" + body[at + 5 :]


@given(spelled_object=OBJECTS, key=KEYS)
def test_a_value_is_what_a_parser_reads(
    spelled_object: tuple[dict[str, Any], bytes], key: str
) -> None:
    doc, body = spelled_object
    found = value(body, key)
    assert (found is None) == (key not in doc)
    if found is not None:
        assert json.loads(found) == doc[key]


@given(spelled_object=OBJECTS, key=KEYS, new=spelled(VALUES))
def test_replacing_changes_one_member_and_no_other_byte(
    spelled_object: tuple[dict[str, Any], bytes], key: str, new: tuple[Any, bytes]
) -> None:
    doc, body = spelled_object
    after = replace(body, key, new[1])
    assert json.loads(after) == {**doc, key: new[0]}
    assert list(json.loads(after)) == list({**doc, key: None})
    old = value(body, key)
    if old is not None:
        assert replace(after, key, old) == body


@given(spelled_object=OBJECTS, key=KEYS)
def test_removing_takes_one_member(spelled_object: tuple[dict[str, Any], bytes], key: str) -> None:
    doc, body = spelled_object
    after = remove(body, key)
    assert json.loads(after) == {name: doc[name] for name in doc if name != key}
    if key not in doc:
        assert after == body


@given(spelled_object=OBJECTS)
def test_members_are_all_there_in_order(spelled_object: tuple[dict[str, Any], bytes]) -> None:
    doc, body = spelled_object
    found = members(body)
    assert [(one.key, json.loads(body[one.start : one.end])) for one in found] == list(doc.items())
    assert [json.loads(b"{%b}" % body[one.begin : one.end]) for one in found] == [
        {name: inner} for name, inner in doc.items()
    ]


def test_members_are_listed_as_often_as_they_are_there() -> None:
    body = rb'{"a":1, "\u0061":2}'
    assert [(one.key, one.begin, one.start, one.end) for one in members(body)] == [
        ("a", 1, 5, 6),
        ("a", 8, 17, 18),
    ]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"{}", b'{"n":1}'),
        (b" { } ", b' {"n":1 } '),
        (b'{"a":2}', b'{"a":2,"n":1}'),
        (b'{\n  "a": {}\n}\n', b'{\n  "a": {},"n":1\n}\n'),
        (b'{"a":{"n":2}}', b'{"a":{"n":2},"n":1}'),
    ],
)
def test_a_new_member_becomes_the_last(body: bytes, expected: bytes) -> None:
    assert replace(body, "n", b"1") == expected


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":1,"model":1}',
        rb'{"model":1,"a":{},"mod\u0065l":2}',
        rb'{"\u006dodel":1,"\u006Dodel":2}',
        b'{"model":1,"a":{"model":2},"model":3}',
    ],
)
def test_a_key_that_is_there_twice_is_refused(body: bytes) -> None:
    with pytest.raises(WireError, match="duplicate key 'model'"):
        value(body, "model")
    with pytest.raises(WireError, match="duplicate key 'model'"):
        replace(body, "model", b"0")
    with pytest.raises(WireError, match="duplicate key 'model'"):
        remove(body, "model")


@pytest.mark.parametrize("body", NO_OBJECTS)
def test_what_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(WireError):
        members(body)


@pytest.mark.parametrize("body", [b"", b"null", b'["model"]', b"{", b'{"a":1'])
def test_no_member_is_added_to_what_is_no_object(body: bytes) -> None:
    with pytest.raises(WireError):
        replace(body, "model", b"1")


def test_nothing_is_read_behind_the_only_member_of_that_name() -> None:
    assert value(b'{"model":1, and so on', "model") == b"1"


# --- strings at any depth -------------------------------------------------------------------------


def strings_in(
    doc: Any, path: tuple[str | int, ...] = ()
) -> list[tuple[tuple[str | int, ...], str]]:
    match doc:
        case str():
            return [(path, doc)]
        case dict():
            return [hit for key, inner in doc.items() for hit in strings_in(inner, (*path, key))]
        case list():
            return [hit for at, inner in enumerate(doc) for hit in strings_in(inner, (*path, at))]
    return []


def element_at(doc: Any, path: tuple[str | int, ...]) -> list[Any]:
    """The objects along `path` that are elements of an array."""
    found = []
    for step in path:
        doc = doc[step]
        if isinstance(step, int) and isinstance(doc, dict):
            found.append(doc)
    return found


@given(written=spelled(VALUES), prefix=st.sampled_from(["a", "mo", "", "0"]))
def test_every_string_value_is_found(written: tuple[Any, bytes], prefix: str) -> None:
    doc, body = written
    found = find_strings(body, prefix.encode())
    assert [(one.path, one.text) for one in found] == [
        (path, text) for path, text in strings_in(doc) if text.startswith(prefix)
    ]
    for one in found:
        assert json.loads(body[one.start : one.end]) == one.text
        around = [json.loads(body[start:end]) for start, end in one.elements]
        assert around == element_at(doc, one.path)


@pytest.mark.parametrize(
    "text", [b'"rp1.x"', rb'"\u0072p1.x"', rb'"rp1\u002Ex"', rb'"\u0072\u0070\u0031\u002e\u0078"']
)
def test_a_prefix_is_found_however_it_is_spelled(text: bytes) -> None:
    [one] = find_strings(b'{"a":[' + text + b"]}", b"rp1.")
    assert (one.text, one.path, one.elements) == ("rp1.x", ("a", 0), ())


def test_keys_and_text_further_in_are_no_hits() -> None:
    assert find_strings(rb'{"rp1.a":1, "b":"x rp1.", "c":"\"rp1."}', b"rp1.") == []


@pytest.mark.parametrize(
    "body",
    [
        b'["rp1."',
        b'{"a":"rp1."]',
        b'"rp1."]',
        b'["rp1.", "x]',
        b'"rp1.',
        rb'"rp1.\x"',
        b'"rp1.\xff"',
        b'"rp1."' + b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1),
    ],
)
def test_a_document_that_cannot_be_walked_is_refused(body: bytes) -> None:
    with pytest.raises(WireError):
        find_strings(body, b"rp1.")


@pytest.mark.parametrize("depth", [MAX_DEPTH - 1, MAX_DEPTH])
def test_a_string_is_found_down_to_the_limit(depth: int) -> None:
    (found,) = find_strings(b"[" * depth + b'"rp1."' + b"]" * depth, b"rp1.")
    assert found.path == (0,) * depth


def test_what_is_no_document_may_pass_where_it_does_no_harm() -> None:
    assert [one.path for one in find_strings(b'"a": "rp1.", 2', b"rp1.")] == [()]


# --- several changes at once ----------------------------------------------------------------------


def spans_of(body: bytes, numbers: set[int]) -> list[Span]:
    return [(at, at + 1) for number in numbers if (at := body.find(b"%d" % number)) >= 0]


@pytest.mark.parametrize("body", [b"[0,1,2,3]", b"[ 0 , 1 , 2 , 3 ]", b"\n[\n0,\n1,\n2,\n3\n]\n"])
@pytest.mark.parametrize("taken", [{n for n in range(4) if mask >> n & 1} for mask in range(16)])
def test_any_elements_can_be_removed_together(body: bytes, taken: set[int]) -> None:
    after = edit(body, removals(body, spans_of(body, taken)))
    assert json.loads(after) == [n for n in range(4) if n not in taken]


def test_the_space_around_what_stays_is_kept() -> None:
    body = b"[\n  0,\n  1,\n  2\n]"
    assert edit(body, removals(body, spans_of(body, {0}))) == b"[\n  1,\n  2\n]"
    assert edit(body, removals(body, spans_of(body, {2}))) == b"[\n  0,\n  1\n]"


def test_an_element_inside_another_goes_with_it() -> None:
    body = b'[{"a":[7, 8]}, 9]'
    spans = [(1, 13), *spans_of(body, {7}), (1, 13)]
    assert edit(body, removals(body, spans)) == b"[9]"


def test_elements_of_different_arrays_can_be_removed_together() -> None:
    body = b"[[1, 2], [3], 4]"
    assert edit(body, removals(body, spans_of(body, {2, 3, 4}))) == b"[[1], []]"


def test_hits_are_replaced_and_removed_in_one_go() -> None:
    body = b'{"in": [{"seal": "rp1.a"}, {"x": {"seal": "rp1.b"}}, {"seal": "rp1.c"}]}'
    first, second, third = find_strings(body, b"rp1.")
    assert second.path == ("in", 1, "x", "seal")
    edits = [
        *removals(body, [first.elements[-1], third.elements[-1]]),
        (second.start, second.end, b'"native"'),
    ]
    assert edit(body, edits) == b'{"in": [{"x": {"seal": "native"}}]}'


@given(
    body=st.binary(max_size=20),
    cuts=st.lists(st.integers(0, 20), max_size=6, unique=True).map(sorted),
    new=st.binary(max_size=3),
)
def test_edits_leave_the_bytes_between_them(body: bytes, cuts: list[int], new: bytes) -> None:
    cuts = [cut for cut in cuts if cut <= len(body)]
    edits = [(start, end, new) for start, end in zip(cuts[::2], cuts[1::2], strict=False)]
    expected = body
    for start, end, _ in reversed(edits):
        expected = expected[:start] + new + expected[end:]
    assert edit(body, reversed(edits)) == expected


def test_edits_that_overlap_are_a_bug() -> None:
    with pytest.raises(ValueError, match="overlap"):
        edit(b"abc", [(0, 2, b""), (1, 3, b"")])


@pytest.mark.parametrize(
    ("body", "path", "expected"),
    [
        (b'{"a": 1, "b": 2}', "b", b'{"a": 1, "b": X}'),
        (b'{"a": {"b" : [1]}, "b": 2}', "a.b", b'{"a": {"b" : X}, "b": 2}'),
        (b'{"a": {"c": 1}}', "a.b", b'{"a": {"c": 1}}'),
        (b"{}", "a.b", b"{}"),
    ],
)
def test_a_member_can_be_changed_where_it_is_found(body: bytes, path: str, expected: bytes) -> None:
    span = find(body, path)
    assert (body if span is None else edit(body, [(*span, b"X")])) == expected


@pytest.mark.parametrize("body", [b'{"a": 1}', b'{"a": "b"}', b'{"a": {"b": 1, "b": 2}}', b"[]"])
def test_a_member_is_found_in_objects_only(body: bytes) -> None:
    with pytest.raises(WireError):
        find(body, "a.b")
