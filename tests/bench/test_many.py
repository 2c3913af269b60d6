"""Many streams at once: that the bench opens, counts and ends them."""

import json
import shutil

import pytest

from bench.many import Http1, Http2, main


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("cc"), reason="the rig's programs need a C compiler")
def test_a_few_of_each(capsys: pytest.CaptureFixture[str]) -> None:
    words = "--http1 30 --http2 50 --events 4 --pace 2"
    assert main(words.split()) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["begun"], found["whole"], found["lost"]) == (80, 80, 0)
    assert found["at_upstream"] == 80
    assert found["held_bytes"] > 0


def test_a_reply_is_whole_only_with_its_end() -> None:
    one = Http1.__new__(Http1)
    one._tail, one.begun, one.whole = b"", 0, 0
    one.on(b"data: [DONE]\n\n\r\n0\r\n")
    assert (one.begun, one.whole) == (1, 0)
    one.on(b"\r\n")
    assert one.whole == 1
    cut = Http1.__new__(Http1)
    cut._tail, cut.begun, cut.whole = b"", 0, 0
    cut.on(b"data: {}\n\n\r\n0\r\n\r\n")
    assert cut.whole == 0


def test_a_stream_is_whole_only_with_its_end() -> None:
    one = Http2.__new__(Http2)
    one._held, one._begun, one._done, one.whole = bytearray(), set(), set(), 0
    data = b"data: [DONE]\n\n"
    first = len(data).to_bytes(3, "big") + b"\0\0" + (1).to_bytes(4, "big") + data
    for at in range(len(first)):
        one.on(first[at : at + 1])
    assert (one.begun, one.whole) == (1, 0)
    one.on(b"\0\0\0\0\x01" + (1).to_bytes(4, "big"))
    assert one.whole == 1
