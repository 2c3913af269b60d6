"""The client's own name for a model in replies that name it as the upstream does."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rawproxy.dialects import anthropic_messages, openai_chat
from rawproxy.dialects.base import Dialect
from rawproxy.dialects.rename import Rename
from rawproxy.wire import sse
from rawproxy.wire.frame import Frame

CHAT: Dialect = openai_chat
MESSAGES: Dialect = anthropic_messages


def frame(raw: bytes) -> Frame:
    (found,) = sse.Splitter().feed(raw)
    return found


def renamed(dialect: Dialect, raw: bytes) -> bytes:
    return Rename(dialect, sse, 'my "model"').frame(frame(raw))


NAME = rb'"my \"model\""'


@pytest.mark.parametrize(
    ("dialect", "before", "after"),
    [
        (CHAT, b'{"id":1,"model":"up" , "x":{"model":"y"}}', b'{"id":1,"model":%b , "x":{"model":"y"}}'),
        (MESSAGES, b'{"type":"message_start","message":{"model": "up","n":1.50}}',
         b'{"type":"message_start","message":{"model": %b,"n":1.50}}'),
    ],
)  # fmt: skip
def test_only_the_name_changes(dialect: Dialect, before: bytes, after: bytes) -> None:
    raw = b"event: x\r\nid: 7\r\ndata: %b\r\n\r\n"
    assert renamed(dialect, raw % before) == raw % (after % NAME)


@pytest.mark.parametrize(
    "raw",
    [
        b": comment\n\n", b"data: [DONE]\n\n", b'data: {"choices":[{"text":"the \\"model\\" here"}]}\n\n',
        b'data: {"x":{"model":"y"}}\n\n', b'data: {"model":"a","model":"b"}\n\n', b'data: "model"\n\n',
    ],
)  # fmt: skip
def test_a_frame_that_names_no_model_stays_as_it_is(raw: bytes) -> None:
    assert renamed(CHAT, raw) == raw


def test_an_error_that_is_told_as_message_stays_as_it_is() -> None:
    raw = b'event: error\ndata: {"message":"no such \\"model\\": x","type":"model"}\n\n'
    assert renamed(MESSAGES, raw) == raw


def test_data_of_several_lines_is_written_anew() -> None:
    raw = b'data: {"model":\ndata: "up"}\n\n'
    assert json.loads(frame(renamed(CHAT, raw)).data) == {"model": 'my "model"'}


def test_a_body() -> None:
    rename = Rename(MESSAGES, sse, "m")
    assert rename.body(b'{"type":"message","model":"up","n":1.50}') == (
        b'{"type":"message","model":"m","n":1.50}'
    )
    body = b'{"type":"error"}'
    assert rename.body(body) is body


HEADS = [
    b'data: {"id":1,"model":"up"',
    b'data: {"id":2,"model":"up"',
    b'data: {"id":1,"model":"upper"',
]
RESTS = [
    b',"n":1}\n\n', b'}\n\n', b',"model":"up"}\n\n', b',"mod\\u0065l":"up"}\n\n',
    b',"text":"\\u00e9"}\n\n', b',"message":{"model":"up"}}\n\n', b',"t":"\\"model\\":"}\n\n', b"\n\n",
]  # fmt: skip


@given(st.lists(st.tuples(st.sampled_from(HEADS), st.sampled_from(RESTS)), max_size=6))
def test_a_frame_that_begins_as_the_last_one_is_renamed_as_if_it_were_the_first(
    parts: list[tuple[bytes, bytes]],
) -> None:
    for dialect in (CHAT, MESSAGES):
        rename = Rename(dialect, sse, 'my "model"')
        for head, rest in parts:
            assert rename.frame(frame(head + rest)) == renamed(dialect, head + rest)
