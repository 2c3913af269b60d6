"""rawproxy.dialects.gemini.part_writer: one part at a time."""

import json
from typing import Any

import pytest
from msgspec import Raw

from rawproxy.dialects.base import Target
from rawproxy.dialects.call import (
    Audio,
    Base64,
    Cache,
    Call,
    Document,
    File,
    Image,
    Inline,
    Opaque,
    Part,
    Refusal,
    SearchResult,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Turn,
    Url,
    Video,
)
from rawproxy.dialects.envelope import UNKNOWN, Origin, Seal
from rawproxy.dialects.gemini.ledger import Ledger
from rawproxy.dialects.gemini.part_writer import PartWriter, json_object
from rawproxy.dialects.gemini.signatures import native
from rawproxy.dialects.models import Takes
from rawproxy.dialects.narrowing import BILLING, Naming
from rawproxy.dialects.reading import encode

ORIGIN = Origin("gemini")
FOREIGN = Seal(Origin("anthropic"), "thinking", "{}")
OLD, NEW = Takes(reasoning="budget"), Takes(reasoning="effort")
OWNED, NOTHING, NARROWER = "owned elsewhere", "no such thing there", "narrower there"


def write(
    *parts: Part, own: bool = False, takes: Takes = NEW, call: Call | None = None
) -> tuple[list[Any], dict[str, str]]:
    call = call or Call("gemini" if own else "x", "m", (Turn("user", parts),))
    ledger = Ledger(call, own=own)
    naming = Naming(exact=own, longest_id=64, longest_name=64)
    writer = PartWriter(call, Target("m", takes, ORIGIN), ledger, naming)
    written = writer.all_parts(parts)
    return json.loads(encode(written)), {loss.path: loss.why for loss in ledger.close()}


@pytest.mark.parametrize(
    ("part", "items", "losses"),
    [
        (Text("a", "p"), [{"text": "a"}], {}),
        (Text("", "p"), [], {}),
        (Text(BILLING + " x", "p"), [], {}),
        (Text("a", "p", cache=Cache(), citations=Raw(b"[1]")), [{"text": "a"}],
         {"p.cache_control": NOTHING, "p.citations": NOTHING}),
        (Text("", "p", seal=native(UNKNOWN, "Cs")), [{"text": "", "thoughtSignature": "Cs"}], {}),
        (Text("a", "p", seal=FOREIGN), [{"text": "a"}], {"p": OWNED}),
        (Refusal("no", "p"), [{"text": "no"}], {"p": NARROWER}),
        (Refusal("", "p"), [], {"p": NARROWER}),
        (SearchResult("s", "t", ("x",), "p"), [{"text": "t (s)\n\nx"}], {"p": NARROWER}),
        (Opaque("x", Raw(b"{}"), "y", "p"), [], {"p": NOTHING}),
        (Thinking("a", "p"), [], {"p": OWNED}),
        (Thinking("a", "p", FOREIGN), [], {"p": OWNED}),
        (Thinking("a", "p", native(ORIGIN, "Cs", text="b")), [], {"p": OWNED}),
        (Thinking("a", "p", native(ORIGIN, "Cs", text="a")),
         [{"text": "a", "thought": True, "thoughtSignature": "Cs"}], {}),
        (Thinking("", "p", native(ORIGIN, "Cs")), [{"text": "", "thoughtSignature": "Cs"}], {}),
        (Image(Base64("QQ=="), "p"), [{"inlineData": {"mimeType": "image/png", "data": "QQ=="}}], {}),
        (Image(Url("https://x/a.JPG?q=1"), "p"),
         [{"fileData": {"mimeType": "image/jpeg", "fileUri": "https://x/a.JPG?q=1"}}], {}),
        (Image(Url("https://x/a"), "p"), [{"fileData": {"fileUri": "https://x/a"}}], {}),
        (Image(Url("https://x/a.zzz"), "p"), [{"fileData": {"fileUri": "https://x/a.zzz"}}], {}),
        (Image(File("i", "openai"), "p"), [], {"p": OWNED}),
        (Image(Url("s3://b/a.png"), "p"), [], {"p": NOTHING}),
        (Image(Inline("x"), "p"), [], {"p": NOTHING}),
        (Video(File("gs://b", "gemini"), "p", "video/mp4"),
         [{"fileData": {"mimeType": "video/mp4", "fileUri": "gs://b"}}], {}),
        (Video(Base64("QQ=="), "p"), [{"inlineData": {"mimeType": "video/mp4", "data": "QQ=="}}], {}),
        (Audio("QQ==", "wav", "p"), [{"inlineData": {"mimeType": "audio/wav", "data": "QQ=="}}], {}),
        (Audio("QQ==", "pcm16", "p"), [{"inlineData": {"mimeType": "audio/pcm", "data": "QQ=="}}], {}),
        (Document(Base64("QQ=="), "p", filename="f", context="c", citations=True),
         [{"inlineData": {"mimeType": "application/pdf", "data": "QQ=="}}],
         {"p.citations": NOTHING, "p.context": NOTHING}),
        (Document(Inline("x"), "p", title="t"), [{"text": "t\n\nx"}], {}),
        (Document(Inline(parts=(Text("y"), Image(Base64("QQ=="), "q"))), "p"),
         [{"text": "y"}, {"inlineData": {"mimeType": "image/png", "data": "QQ=="}}], {}),
    ],
)  # fmt: skip
def test_a_part(part: Part, items: list[Any], losses: dict[str, str]) -> None:
    assert write(part) == (items, losses)


@pytest.mark.parametrize(
    ("text", "known"), [("", b"{}"), ('{"a" : 1.50}', b'{"a" : 1.50}'), ("[1]", None), ("{", None)]
)
def test_arguments_as_an_object(text: str, known: bytes | None) -> None:
    found = json_object(text)
    assert (None if found is None else bytes(found)) == known


def test_tool_calls_and_their_results() -> None:
    items, losses = write(
        ToolCall("i", "a b", '{"x":1}', "p", namespace="n", seal=native(UNKNOWN, "Cs")),
        ToolCall("j", "free", "words", "q", kind="freeform"),
        ToolCall("k", "f", "[", "r", seal=FOREIGN),
        ToolResult("i", (Text("one "), Text("two"), Document(Inline("three"), "s")), "t"),
        ToolResult("lost", (), "u", name="g", is_error=True),
        ToolResult("gone", (Image(Base64("QQ=="), "v"),), "w"),
    )
    (a, b, c, x, y, z) = items
    assert a["thoughtSignature"] == "Cs"
    assert a["functionCall"]["id"] == "i"
    assert a["functionCall"]["args"] == {"x": 1}
    assert b["functionCall"]["args"] == {"input": "words"}
    assert c == {"functionCall": {"id": "k", "name": "f", "args": {"_raw": "["}}}
    assert x["functionResponse"] == {
        "id": "i", "name": a["functionCall"]["name"], "response": {"output": "one two\n\nthree"},
    }  # fmt: skip
    assert y["functionResponse"] == {"id": "lost", "name": "g", "response": {"error": ""}}
    assert z["functionResponse"]["name"] == "tool"
    assert z["functionResponse"]["parts"][0]["inlineData"]["data"] == "QQ=="
    assert losses == {"r": NARROWER}


def test_older_models_see_pictures_behind_the_results() -> None:
    call = Call("x", "m")
    ledger = Ledger(call, own=False)
    naming = Naming(exact=False, longest_id=64, longest_name=64)
    writer = PartWriter(call, Target("m", OLD, ORIGIN), ledger, naming)
    after: list[Any] = []
    result = ToolResult("i", (Text("a"), Image(Base64("QQ=="), "v")), "w", name="f")
    item = writer.result(result, after)
    assert item == {"functionResponse": {"id": "i", "name": "f", "response": {"output": "a"}}}
    assert after[0] == {"text": "From the result of f:"}
    assert len(after) == 2
    assert [loss.path for loss in ledger.close()] == ["w"]


def test_parts_of_its_own_dialect_keep_what_they_had() -> None:
    call = Call("gemini", "m", extra={"p.fileData.x": b"1", "p.y": b"2", "q.z": b"3"})
    part = Document(Url("https://x/a.pdf"), "p", None, "name")
    written, losses = write(part, Thinking("a", "q"), Text("", "r"), own=True, call=call)
    uri = {
        "mimeType": "application/pdf",
        "fileUri": "https://x/a.pdf",
        "displayName": "name",
        "x": 1,
    }
    assert written == [
        {"fileData": uri, "y": 2}, {"text": "a", "thought": True, "z": 3}, {"text": ""},
    ]  # fmt: skip
    assert losses == {}
    raw = Opaque("gemini", Raw(b'{"toolCall":{}}'), "toolCall", "s")
    made = ToolCall("call_0", "f", "{}", "t")
    assert write(raw, made, own=True)[0] == [
        {"toolCall": {}}, {"functionCall": {"name": "f", "args": {}}},
    ]  # fmt: skip
    shut = Call("gemini", "m", unopened=("q",))
    assert write(Thinking("a", "q"), own=True, call=shut) == ([], {"q": OWNED})
