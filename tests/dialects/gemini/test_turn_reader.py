"""rawproxy.dialects.gemini.turn_reader: contents to turns."""

import base64
import json
from typing import Any

import pytest
from msgspec import Raw

from rawproxy.dialects.call import (
    Base64,
    Document,
    File,
    Image,
    Opaque,
    Part,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Turn,
    Url,
    Video,
)
from rawproxy.dialects.envelope import UNKNOWN, Origin, Vault, seal
from rawproxy.dialects.gemini.signatures import native
from rawproxy.dialects.gemini.spelling import Object
from rawproxy.dialects.gemini.turn_reader import Answer, Sound, TurnReader
from rawproxy.errors import ClientError

VAULT = Vault(b"key", "me")
P = "contents[0].parts[0]"


def read(*contents: Any, vault: Vault = VAULT) -> tuple[tuple[Turn, ...], TurnReader]:
    reader = TurnReader(vault)
    body = Object.of(json.dumps({"contents": list(contents)}).encode())
    return reader.turns(body), reader


def parts(*said: Any, role: str = "model") -> tuple[Part, ...]:
    turns, _ = read({"role": role, "parts": list(said)})
    return turns[0].parts if turns else ()


def result(*said: Any) -> ToolResult:
    (found,) = parts({"functionResponse": {"name": "f"} | dict(*said)}, role="user")
    assert isinstance(found, ToolResult)
    return found


@pytest.mark.parametrize(
    ("role", "known"),
    [
        ("user", "user"),
        (None, "user"),
        ("function", "user"),
        ("tool", "user"),
        ("model", "assistant"),
    ],
)
def test_roles(role: str | None, known: str) -> None:
    turns, _ = read({"role": role, "parts": [{"text": "hi"}]})
    assert turns == (Turn(known, (Text("hi", P),), "contents[0]"),)  # type: ignore[arg-type]


def test_an_unknown_role_is_refused() -> None:
    with pytest.raises(ClientError, match=r"contents\[0\].role: unknown role"):
        read({"role": "wizard", "parts": []})


@pytest.mark.parametrize(
    ("body", "turns"),
    [
        ({}, ()),
        ({"systemInstruction": "Be brief."},
         (Turn("system", (Text("Be brief.", "systemInstruction"),), "systemInstruction"),)),
        ({"system_instruction": {"role": "system", "parts": {"text": "A"}}},
         (Turn("system", (Text("A", "system_instruction.parts"),), "system_instruction"),)),
    ],
)  # fmt: skip
def test_the_system_instruction(body: Any, turns: tuple[Turn, ...]) -> None:
    assert TurnReader(VAULT).system(Object.of(json.dumps(body).encode())) == turns


def test_texts_and_thoughts() -> None:
    found = parts(
        {"text": "t"}, {"text": "u", "thoughtSignature": "Cs"}, {"text": "h", "thought": True},
        {"text": "i", "thought": True, "thought_signature": "Ct"},
        {"text": "", "thoughtSignature": "Cu"}, {"text": ""}, {"text": "", "thought": True},
    )  # fmt: skip
    assert found == (
        Text("t", P),
        Text("u", "contents[0].parts[1]", seal=native(UNKNOWN, "Cs")),
        Thinking("h", "contents[0].parts[2]"),
        Thinking("i", "contents[0].parts[3]", native(UNKNOWN, "Ct", text="i")),
        Thinking("", "contents[0].parts[4]", native(UNKNOWN, "Cu")),
    )
    assert parts({"text": ""}, role="user") == (Text("", P),)
    assert read({"role": "model", "parts": [{"text": ""}]})[0] == ()
    assert read({"role": "user"})[0] == (Turn("user", (), "contents[0]"),)


def carried(text: str) -> tuple[str, Any]:
    sealed = seal(Origin("anthropic"), "thinking", "{}", [text] if text else ())
    return base64.urlsafe_b64encode(VAULT.pack(sealed).encode()).decode(), sealed


def test_an_envelope_seals_the_thoughts_before_it() -> None:
    signature, sealed = carried("abc")
    said = [{"text": "a", "thought": True}, {"text": "b", "thought": True}]
    last = {"text": "c", "thought": True, "thoughtSignature": signature}
    (found,) = parts(*said, last)
    assert found == Thinking("abc", "contents[0].parts[2]", sealed)
    # A client that keeps the stream sends each piece as a content.
    turns, _ = read(*({"role": "model", "parts": [one]} for one in (*said, last)))
    assert [turn.parts for turn in turns] == [(Thinking("abc", "contents[2].parts[0]", sealed),)]
    # Another text is between them, or another speaker: then nobody knows what was sealed.
    assert [type(one) for one in parts(*said, {"text": "-"}, last)] == [
        Thinking,
        Thinking,
        Text,
        Thinking,
    ]
    turns, _ = read(
        {"role": "model", "parts": said}, {"parts": []}, {"role": "model", "parts": [last]}
    )
    assert len(turns[0].parts) == 2
    turns, _ = read({"role": "model", "parts": [last]})
    assert turns[0].parts == (Thinking("c", P, sealed),)


def test_an_envelope_of_somebody_else_stays_shut() -> None:
    signature, _ = carried("a")
    turns, reader = read(
        {"role": "model", "parts": [{"text": "a", "thought": True, "thoughtSignature": signature}]},
        vault=Vault(b"other", "me"),
    )
    assert turns[0].parts == (Thinking("a", P),)
    assert reader.unopened == [P]


def test_calls_without_ids_get_some_and_results_find_them() -> None:
    turns, reader = read(
        {"role": "model", "parts": [
            {"functionCall": {"name": "f", "args": {"x": 1.50}}, "thoughtSignature": "Cs"},
            {"functionCall": {"name": "g", "x": 1}},
            {"function_call": {"name": "f", "id": "own", "args": None}},
        ]},
        {"parts": [
            {"functionResponse": {"name": "f", "response": {"output": "1"}}},
            {"functionResponse": {"id": "own", "response": {}}},
            {"functionResponse": {"name": "g"}},
            {"functionResponse": {"name": "h", "willContinue": True}},
            {"functionResponse": {"id": "lost", "name": "f"}},
        ]},
    )  # fmt: skip
    assert turns[0].parts == (
        ToolCall("call_0", "f", '{"x": 1.5}', P, seal=native(UNKNOWN, "Cs")),
        ToolCall("call_1", "g", "{}", "contents[0].parts[1]"),
        ToolCall("own", "f", "{}", "contents[0].parts[2]"),
    )
    results = [one for one in turns[1].parts if isinstance(one, ToolResult)]
    assert [(one.id, one.name) for one in results] == [
        ("call_0", "f"), ("own", "f"), ("call_1", "g"), ("call_2", "h"), ("lost", "f"),
    ]  # fmt: skip
    assert reader.extra == {
        "contents[0].parts[1].functionCall.x": b"1",
        "contents[1].parts[3].functionResponse.willContinue": b"true",
    }


def test_a_result_answers_the_calls_of_its_own_round() -> None:
    call = {"role": "model", "parts": [{"functionCall": {"name": "f"}}]}
    answer: Any = {"parts": [{"functionResponse": {}}]}
    turns, _ = read(
        call, {"parts": [{"functionResponse": {"id": "x"}}]}, call, call, answer, answer
    )
    ids = [one.id for turn in turns for one in turn.parts if isinstance(one, ToolCall | ToolResult)]
    assert ids == ["call_0", "x", "call_1", "call_2", "call_1", "call_2"]


@pytest.mark.parametrize(
    ("response", "text", "is_error"),
    [
        ({"output": "a"}, "a", None),
        ({"result": {"b": 1.0}}, '{"b": 1.0}', None),
        ({"error": "bad"}, "bad", True),
        ({"error": ["bad"]}, '["bad"]', True),
        ({"output": "a", "more": 1}, '{"output": "a", "more": 1}', None),
        ({"high": 1}, '{"high": 1}', None),
        ({}, "{}", None),
    ],
)
def test_what_a_tool_answered(response: Any, text: str, is_error: bool | None) -> None:
    found = result({"response": response})
    (said,) = found.parts
    assert isinstance(said, Text)
    assert (said.text, found.is_error) == (text, is_error)
    assert isinstance(found, Answer)
    assert json.loads(bytes(found.response)) == response


def test_a_result_with_a_picture_and_one_that_is_no_object() -> None:
    found = result({"parts": [{"inlineData": {"mimeType": "image/png", "data": "aa-_"}}]})
    path = f"{P}.functionResponse.parts[0]"
    assert found.parts == (Image(Base64("aa+/"), path, "image/png"),)
    with pytest.raises(ClientError, match="response: expected an object"):
        result({"response": [1]})


@pytest.mark.parametrize(
    ("kind", "inner", "part"),
    [
        ("inlineData", {"mimeType": "image/png", "data": "QQ"}, Image(Base64("QQ=="), P, "image/png")),
        ("inlineData", {"mimeType": "video/mp4", "data": "QUFB"}, Video(Base64("QUFB"), P, "video/mp4")),
        ("inlineData", {"mimeType": "audio/mpeg", "data": "QUFB"},
         Sound("QUFB", "mp3", P, mime="audio/mpeg")),
        ("inlineData", {"mimeType": "audio/L16;rate=24000", "data": "QUFB"},
         Sound("QUFB", "L16", P, mime="audio/L16;rate=24000")),
        ("inlineData", {"mimeType": "application/pdf", "data": "QUFB", "displayName": "a.pdf"},
         Document(Base64("QUFB"), P, "application/pdf", "a.pdf")),
        ("inline_data", {"data": "QUFB"}, Document(Base64("QUFB"), P)),
        ("fileData", {"mimeType": "image/png", "fileUri": "https://x/a.png"},
         Image(Url("https://x/a.png"), P, "image/png")),
        ("file_data", {"mime_type": "video/mp4", "file_uri": "gs://b/a"},
         Video(File("gs://b/a", "gemini"), P, "video/mp4")),
        ("fileData", {"mimeType": "audio/wav", "fileUri": "https://x/a"},
         Opaque("gemini", Raw(b'{"fileData": {"mimeType": "audio/wav", "fileUri": "https://x/a"}}'),
                "fileData", P)),
    ],
)  # fmt: skip
def test_media(kind: str, inner: Any, part: Part) -> None:
    (found,) = parts({kind: inner})
    assert type(found) is type(part)
    assert found == part


def test_what_only_this_dialect_has() -> None:
    found = parts({"executableCode": {"code": "1"}}, {"tool_call": {}})
    assert [(one.shows, one.path) for one in found if isinstance(one, Opaque)] == [
        ("executableCode", P), ("toolCall", "contents[0].parts[1]"),
    ]  # fmt: skip
    _, reader = read({"parts": [
        {"text": "a", "partMetadata": {"x": 1}},
        {"inlineData": {"mimeType": "image/png", "data": "", "displayName": "é", "y": 1}},
    ], "z": 2})  # fmt: skip
    assert reader.extra == {
        "contents[0].parts[0].partMetadata": b'{"x": 1}',
        "contents[0].parts[1].inlineData.displayName": '"é"'.encode(),
        "contents[0].parts[1].inlineData.y": b"1",
        "contents[0].z": b"2",
    }


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({}, "the part has no content"),
        (1, "is not a JSON object"),
        ({"text": 1}, "text: expected a string"),
        ({"functionCall": {}}, "functionCall.name: field required"),
        ({"functionCall": 1}, "functionCall is not a JSON object"),
        ({"inlineData": {"mimeType": "image/png"}}, "inlineData.data: field required"),
        ({"file_data": {}}, "file_data.fileUri: field required"),
    ],
)
def test_bad_parts_are_named(part: Any, message: str) -> None:
    with pytest.raises(ClientError, match=message) as caught:
        parts(part)
    assert str(caught.value).startswith(P)
