"""Changed inputs stay what they are: most of them reach what is behind the first check."""

import json
from collections.abc import Callable
from itertools import islice
from random import Random

import pytest
from hpack import Decoder

from fuzz.engine import inputs
from fuzz.frames import CLIENT_SEEDS, SERVER_SEEDS, block, parse
from fuzz.targets import TARGETS
from rawproxy.errors import HttpError, WireError
from rawproxy.wire.h2.frames import PREFACE, write_frame
from rawproxy.wire.http1 import Limits, RequestReader
from rawproxy.wire.http2 import Http2Server

COUNT = 300


def changed(name: str) -> list[bytes]:
    target = TARGETS[name]
    begin = len(target.seeds())
    return list(islice(inputs(target, Random(5)), begin, begin + COUNT))


def is_json(data: bytes) -> None:
    json.loads(data)


def is_request(data: bytes) -> None:
    assert RequestReader(Limits()).feed(data)


def is_http2(data: bytes) -> None:
    assert Http2Server(Limits(), streams=9, requests=99, now=0.0).feed(data, 0.0)


@pytest.mark.parametrize(
    ("name", "takes", "share"),
    [
        ("gemini.call", is_json, 0.6), ("openai_chat.reply", is_json, 0.6),
        ("h1_request", is_request, 0.2), ("h2_server", is_http2, 0.2),
    ],
)  # fmt: skip
def test_many_are_well_formed_and_some_are_not(
    name: str, takes: Callable[[bytes], None], share: float
) -> None:
    good = 0
    for data in changed(name):
        try:
            takes(data)
        except (ValueError, RecursionError, AssertionError, HttpError, WireError):
            continue
        good += 1
    assert share * COUNT < good < COUNT


def test_frames_are_cut_and_put_together() -> None:
    wire = write_frame(0, 1, 3, b"abc") + write_frame(6, 0, 0, b"12345678")
    assert parse(wire) == ([(0, 1, 3, b"abc"), (6, 0, 0, b"12345678")], b"")
    assert parse(wire[:-1]) == ([(0, 1, 3, b"abc")], wire[12:-1])


def test_a_block_leans_on_nothing() -> None:
    fields = [(b":status", b"200"), (b"x", b"y")]
    assert Decoder().decode(block(fields), raw=True) == fields
    assert block(fields) == block(fields)


def test_seeds_of_http2_are_whole_frames() -> None:
    for seed in [*(one.removeprefix(PREFACE) for one in SERVER_SEEDS), *CLIENT_SEEDS]:
        pieces, rest = parse(seed)
        assert pieces
        assert rest == b""
