"""rawproxy.dialects.usage_chunk: asking for usage on a client's behalf, and hiding that it was asked."""

import json

import pytest

from rawproxy.dialects.usage_chunk import ask_usage, is_usage_only
from rawproxy.wire.sse import Splitter


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ("", {"include_usage": True}),
        (', "stream_options": null', {"include_usage": True}),
        (', "stream_options": {}', {"include_usage": True}),
        (
            ', "stream_options": {"x": 1.50, "include_usage": false}',
            {"x": 1.5, "include_usage": True},
        ),
    ],
)
def test_usage_is_asked_for(options: str, asked: dict[str, object]) -> None:
    body = ('{"model": "m", "temperature": 1.00' + options + "}").encode()
    made = ask_usage(body)
    assert made is not None
    assert json.loads(made)["stream_options"] == asked
    assert made.startswith(b'{"model": "m", "temperature": 1.00')


@pytest.mark.parametrize(
    "body", [b'{"stream_options":{"include_usage":true}}', b'{"stream_options":7}']
)
def test_a_client_that_asks_itself_is_left_alone(body: bytes) -> None:
    assert ask_usage(body) is None


@pytest.mark.parametrize(
    ("data", "drops"),
    [
        ('{"choices":[],"usage":{"prompt_tokens":1}}', True),
        ('{"choices" : [ ] , "usage" : {}}', True),
        ('{"choices":[],"usage":null}', False),
        ('{"choices":[],"prompt_filter_results":[]}', False),
        ('{"choices":[{"index":0}],"usage":{"prompt_tokens":1}}', False),
        ("[DONE]", False),
    ],
)
def test_only_the_usage_chunk_is_dropped(data: str, drops: bool) -> None:
    [frame] = Splitter().feed(f"data: {data}\n\n".encode())
    assert is_usage_only(frame) is drops
