"""Fakes of servers that take a prompt and stream the words of the answer, bare or in lines of JSON.

There is no standard. Lines with `token.text` are what text-generation-inference streams, without
its `data:`.
"""

import json

import trio

from tests.end_to_end.models.common import (
    BREAK,
    FAIL,
    MIDWAY,
    answer,
    error_of,
    last_prompt,
    pieces,
    refuse,
    reply,
    stream,
)
from tests.net.fakes import LAST_CHUNK, Seen, chunk, head


async def text_model(seen: Seen, wire: trio.SocketStream) -> None:
    """Answers with bare text, streaming or not.

    The end of the body is all that says it is whole; so what fails or breaks off is a connection
    that closes before that.
    """
    request = json.loads(seen.body)
    word = last_prompt(request["prompt"])
    if error := error_of(word, stream=True):
        await refuse(wire, error[0], {"error": error[1]})
        return
    said = pieces(answer(word, second=True).text)
    cut = word in (BREAK, FAIL)
    await wire.send_all(head(200, "text/plain; charset=utf-8"))
    for piece in said[:1] if cut else said:
        await wire.send_all(chunk(piece.encode()))
    if cut:
        await wire.aclose()
    else:
        await wire.send_all(LAST_CHUNK)


async def lines_model(seen: Seen, wire: trio.SocketStream) -> None:
    """Answers with lines of JSON whose `token.text` is the text; with one document if not streaming."""
    request = json.loads(seen.body)
    word = last_prompt(request["prompt"])
    streamed = bool(request.get("stream"))
    if error := error_of(word, stream=streamed):
        await refuse(wire, error[0], {"error": error[1]})
        return
    said = answer(word, second=True).text
    if not streamed:
        await reply(wire, word, {"token": {"text": said}, "details": None})
        return
    lines: list[object] = [
        {"token": {"id": at, "text": piece, "logprob": -0.5, "special": False}}
        for at, piece in enumerate(pieces(said))
    ]
    if word == BREAK:  # nothing in a line says that it is the last one
        await wire.send_all(head(200, "application/x-ndjson"))
        await wire.send_all(chunk(json.dumps(lines[0]).encode() + b"\n"))
        await wire.aclose()
        return
    written = [json.dumps(line).encode() + b"\n" for line in lines]
    failure = json.dumps({"error": MIDWAY[1], "error_type": "generation"}).encode() + b"\n"
    await stream(wire, word, written, failure, "application/x-ndjson")
