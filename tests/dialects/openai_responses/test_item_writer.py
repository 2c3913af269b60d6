"""rawproxy.dialects.openai_responses.item_writer: turns as they came, and those of other dialects."""

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
from rawproxy.dialects.envelope import UNKNOWN, Origin, Vault, seal
from rawproxy.dialects.models import Takes
from rawproxy.dialects.narrowing import BILLING
from rawproxy.dialects.openai_responses.call_reader import CallReader
from rawproxy.dialects.openai_responses.call_writer import write_call
from rawproxy.dialects.openai_responses.reasoning import RESPONSES
from rawproxy.dialects.reading import Fields, encode

VAULT = Vault(b"key", "me")
OPENAI = Origin("openai", "org")
ALL = Takes(developer=True, freeform=True, breakpoints=True)
NARROW = Takes()
PDF = "application/pdf"


def again(given: object, **body: object) -> tuple[dict[str, Any], list[str]]:
    """Return a body read and written for its own dialect, and the losses."""
    whole = {"model": "m", "input": given} | body
    call = CallReader(Fields.of(encode(whole)), VAULT).read()
    written = write_call(call, Target("m", NARROW, OPENAI))
    return json.loads(written.body), [loss.path for loss in written.losses]


def write(*turns: Turn, taken: Takes = ALL, **call: Any) -> tuple[dict[str, Any], dict[str, str]]:
    written = write_call(Call("other", "m", turns, **call), Target("m", taken, OPENAI))
    return json.loads(written.body), {loss.path: loss.why for loss in written.losses}


def user(*parts: Part | str) -> Turn:
    return turn("user", *parts)


def turn(role: Any, *parts: Part | str, path: str = "m[0]", name: str | None = None) -> Turn:
    return Turn(role, tuple(Text(p) if isinstance(p, str) else p for p in parts), path, name)


def content(*parts: Part, taken: Takes = ALL, role: str = "user") -> tuple[Any, dict[str, str]]:
    """Return the content of the one message that `parts` make; [] when they make none."""
    body, lost = write(turn(role, *parts), taken=taken)
    items = body["input"]
    return items[0]["content"] if items else [], lost


MARK = {"prompt_cache_breakpoint": {"mode": "explicit", "ttl": "30m", "new": 1}}
SUMMARY = [{"type": "summary_text", "text": "a"}, {"type": "summary_text", "text": "b"}]


@pytest.mark.parametrize(
    "given",
    [
        "Hi",
        "",
        [{"role": "user", "content": "Hi"}],
        [{"type": "message", "id": "msg_1", "role": "developer", "content": "Hi", "new": 1}],
        [{"role": "user", "content": []}],
        [{"role": "assistant", "content": [{"type": "input_text", "text": "a"}], "phase": "commentary"}],
        [{"role": "assistant", "content": "a", "phase": "final_answer"}],
        [{"role": "assistant", "status": "completed", "content": [
            {"type": "output_text", "text": "a", "annotations": [{"type": "file_path"}]},
            {"type": "output_text", "text": "b", "annotations": [], "logprobs": []},
            {"type": "refusal", "refusal": "No.", "new": 1},
            {"type": "hologram", "x": None},
        ]}],
        [{"role": "user", "content": [
            {"type": "input_text", "text": "a"} | MARK,
            {"type": "input_image", "image_url": "data:image/png;base64,QQ==", "detail": "low"} | MARK,
            {"type": "input_image", "file_id": "file-1", "new": 1},
            {"type": "input_image", "image_url": "https://x/y"},
            {"type": "input_file", "file_data": "QQ==", "filename": "a"},
            {"type": "input_file", "file_data": "data:text/plain;base64,QQ=="} | MARK,
            {"type": "input_file", "file_url": "https://x/y", "filename": "a"},
            {"type": "input_file", "file_id": "file-1", "filename": "a", "detail": "low"},
            {"type": "input_audio", "input_audio": {"data": "QQ==", "format": "wav", "new": 1}},
        ]}],
        [
            {"type": "function_call", "id": "fc", "call_id": "a" * 70, "name": "f g", "arguments": "", "namespace": "ns"},
            {"type": "custom_tool_call", "call_id": "b", "name": "c", "input": "x", "async": True},
            {"type": "function_call_output", "call_id": "a" * 70, "output": "1", "name": "f g"},
            {"type": "custom_tool_call_output", "call_id": "b", "output": [{"type": "input_text", "text": "1"}]},
            {"type": "custom_tool_call_output", "call_id": "gone", "output": ""},
        ],
        [
            {"type": "reasoning", "id": "rs", "summary": SUMMARY, "content": None, "encrypted_content": "g"},
            {"type": "reasoning", "id": "rs", "summary": SUMMARY},
            {"type": "reasoning", "id": "rs", "summary": []},
            {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "a"}]},
        ],
        [{"type": "item_reference", "id": "msg"}, {"type": "compaction", "encrypted_content": "x"}],
        [{"type": "additional_tools", "id": "at", "role": "developer", "tools": [{"type": "web_search"}]}],
        [{"type": "additional_tools", "role": "developer", "tools": []}],
    ],
)  # fmt: skip
def test_items_go_back_as_they_came(given: object) -> None:
    body, lost = again(given)
    assert body["input"] == given
    assert lost == []


def test_instructions_go_back_as_they_came() -> None:
    assert again("Hi", instructions="")[0] == {"model": "m", "instructions": "", "input": "Hi"}
    reference = {"instructions": "Be brief.", "previous_response_id": "resp_1"}
    assert again(None, **reference)[0] == {"model": "m"} | reference


def test_a_turn_that_was_added_is_written_beside_the_string() -> None:
    call = CallReader(Fields.of(b'{"model":"m","input":"Hi","new":1}'), VAULT).read()
    call.turns += (
        turn("assistant", "I look.", ToolCall("a", "f", "x", kind="freeform"), path=""),
        turn("user", ToolResult("a", (Text("1"),)), ToolResult("b", ()), path=""),
    )
    written = json.loads(write_call(call, Target("m", NARROW, OPENAI)).body)
    assert written["input"] == [
        {"role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
        {"role": "assistant", "content": [{"type": "output_text", "text": "I look."}]},
        {"type": "custom_tool_call", "call_id": "a", "name": "f", "input": "x"},
        {
            "type": "custom_tool_call_output",
            "call_id": "a",
            "output": [{"type": "input_text", "text": "1"}],
        },
        {"type": "function_call_output", "call_id": "b", "output": ""},
    ]


def test_an_envelope_of_this_issuer_goes_back_as_its_item() -> None:
    item = {"id": "rs_9", "type": "reasoning", "encrypted_content": "gA", "summary": []}
    ours = VAULT.pack(seal(OPENAI, "reasoning", json.dumps(item)))
    body, lost = again([{"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": ours}])  # fmt: skip
    assert (body["input"], lost) == ([item], [])


@pytest.mark.parametrize(
    "made",
    [
        seal(Origin("anthropic"), "thinking", "{}"),
        seal(Origin("openai", "elsewhere"), "reasoning", "{}"),
        seal(OPENAI, "reasoning", "{}", ["other"]),
        None,
    ],
)
def test_one_of_another_goes_with_its_item(made: Any) -> None:
    ours = VAULT.pack(made) if made else "rp1.x.y"
    body, lost = again([{"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": ours}])  # fmt: skip
    assert ("input" in body, lost) == (False, ["input[0]"])


def test_a_system_field_becomes_instructions() -> None:
    texts = (Text(f"{BILLING} cc", "system[0]"), Text("A", "system[1]", Cache()), Text("B"))
    body, lost = write(turn("system", *texts, path="system"), user("Hi"), taken=NARROW)
    assert body["instructions"] == "A\n\nB"
    assert [item["role"] for item in body["input"]] == ["user"]
    assert lost == {"system[1].prompt_cache_breakpoint": "no such thing there"}


def test_one_with_nothing_to_say_is_none() -> None:
    body, _ = write(turn("system", f"{BILLING} cc", path="system"), user("Hi"))
    assert "instructions" not in body


@pytest.mark.parametrize(("taken", "role"), [(ALL, "developer"), (NARROW, "system")])
def test_a_system_message_stays_where_it_is(taken: Takes, role: str) -> None:
    body, lost = write(
        turn("system", "A", f"{BILLING} cc"), user("Hi"), turn("developer", "B"), taken=taken
    )
    assert "instructions" not in body
    assert [(item["role"], item["content"][0]["text"]) for item in body["input"]] == [
        (role, "A"),
        ("user", "Hi"),
        (role, "B"),
    ]
    assert lost == {}


def test_a_marked_system_field_keeps_its_mark() -> None:
    body, _ = write(turn("system", Text("A", "system[0]", Cache("1h")), path="system"))
    mark = {"mode": "explicit", "ttl": "12h"}
    part = {"type": "input_text", "text": "A", "prompt_cache_breakpoint": mark}
    assert body["input"] == [{"type": "message", "role": "developer", "content": [part]}]


def test_parts_become_items_in_their_order() -> None:
    said = turn(
        "assistant", "A", Refusal("B"), ToolCall("a", "f", ""), Text("C", phase="commentary"),
        Text("D", phase="final_answer"), "",
    )  # fmt: skip
    body, lost = write(said, user(ToolResult("a", (Text("1"),)), "E"))
    assert [(item["type"], item.get("role"), item.get("phase")) for item in body["input"]] == [
        ("message", "assistant", None),
        ("function_call", None, None),
        ("message", "assistant", "commentary"),
        ("message", "assistant", "final_answer"),
        ("function_call_output", None, None),
        ("message", "user", None),
    ]
    refused = body["input"][0]
    assert refused.pop("id").startswith("msg_")
    assert (refused["status"], refused["content"]) == ("completed", [
        {"type": "output_text", "text": "A", "annotations": []},
        {"type": "refusal", "refusal": "B"},
    ])  # fmt: skip
    assert body["input"][2]["content"] == "C"
    assert body["input"][1] == {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"}  # fmt: skip
    assert lost == {}


def test_names_of_turns_are_lost() -> None:
    assert write(turn("user", "Hi", name="Ann"))[1] == {"m[0].name": "no such thing there"}


@pytest.mark.parametrize(
    ("taken", "call", "output"),
    [
        (ALL, {"type": "custom_tool_call", "input": "x"}, "custom_tool_call_output"),
        (NARROW, {"type": "function_call", "arguments": '{"input":"x"}'}, "function_call_output"),
    ],
)
def test_a_freeform_call_and_its_result(taken: Takes, call: dict[str, Any], output: str) -> None:
    asked = turn("assistant", ToolCall("a", "c", "x", kind="freeform"))
    body, _ = write(asked, user(ToolResult("a", (Text("1"),))), taken=taken)
    assert body["input"] == [
        call | {"call_id": "a", "name": "c"},
        {"type": output, "call_id": "a", "output": "1"},
    ]


def test_long_ids_are_shortened_alike() -> None:
    long = "x" * 65
    asked = turn("assistant", ToolCall(long, "f", "{}", namespace="ns"))
    made = Call("other", "m", (asked, user(ToolResult(long, ()))))
    written = write_call(made, Target("m", ALL, OPENAI))
    call, result = json.loads(written.body)["input"]
    assert call["call_id"] == result["call_id"] != long
    assert written.back.ids == {call["call_id"]: long}
    assert (call["name"], "namespace" in call) == ("ns__f", False)
    assert written.back.tools["ns__f"].namespace == "ns"


def test_what_sits_on_a_call_is_lost() -> None:
    made = seal(Origin("gemini"), "thoughtSignature", "{}")
    call = ToolCall("a", "f", "{}", "m[0].t", cache=Cache(), seal=made)
    assert write(turn("assistant", call))[1] == {
        "m[0].t": "owned elsewhere",
        "m[0].t.prompt_cache_breakpoint": "no such thing there",
    }


IMAGE = Image(Base64("QQ=="), "m[0].r[1]", "image/gif")
SHOWN = {"type": "input_image", "detail": "auto", "image_url": "data:image/gif;base64,QQ=="}
ONE = {"type": "input_text", "text": "1"}
ERROR = {"m[0].r.is_error": "narrower there"}
EXPLICIT = {"prompt_cache_breakpoint": {"mode": "explicit"}}


@pytest.mark.parametrize(
    ("result", "output", "lost"),
    [
        (ToolResult("a", (), "m[0].r"), "", {}),
        (ToolResult("a", (Text(""),), "m[0].r"), "", {}),
        (ToolResult("a", (Text("1"), Text("2")), "m[0].r"), [ONE, ONE | {"text": "2"}], {}),
        (ToolResult("a", (Text("1"), IMAGE), "m[0].r"), [ONE, SHOWN], {}),
        (ToolResult("a", (Text("1"),), "m[0].r", is_error=True), "Error: 1", ERROR),
        (ToolResult("a", (), "m[0].r", is_error=True), "Error: ", ERROR),
        (
            ToolResult("a", (IMAGE,), "m[0].r", is_error=True),
            [ONE | {"text": "Error: "}, SHOWN],
            ERROR,
        ),
        (ToolResult("a", (Text("1"),), "m[0].r", is_error=False), "1", {}),
        (ToolResult("a", (Text("1"), IMAGE), "m[0].r", cache=Cache()), [ONE, SHOWN | EXPLICIT], {}),
        (
            ToolResult("a", (), "m[0].r", cache=Cache()),
            "",
            {"m[0].r.prompt_cache_breakpoint": "no such thing there"},
        ),
    ],
)
def test_results_keep_their_parts(result: ToolResult, output: object, lost: object) -> None:
    body, told = write(user(result))
    assert body["input"][0]["output"] == output
    assert told == lost


def file(name: str, data: str) -> list[dict[str, str]]:
    return [{"type": "input_file", "filename": name, "file_data": data}]


P = "m[0].c"
WHOLE = {P: "no such thing there"}
OWNED = {P: "owned elsewhere"}
HIT = SearchResult("src", "Title", ("x",), P, citations=True)


@pytest.mark.parametrize(
    ("part", "items", "lost"),
    [
        (Text("a", P, seal=seal(UNKNOWN, "x", "{}")), [{"type": "input_text", "text": "a"}], OWNED),
        (
            Text("a", P, citations=Raw(b"[1]")),
            [{"type": "input_text", "text": "a"}],
            {f"{P}.citations": "no such thing there"},
        ),
        (
            Image(Base64("QQ=="), P, detail="low"),
            [{"type": "input_image", "detail": "low", "image_url": "data:image/png;base64,QQ=="}],
            {},
        ),
        (
            Image(Url("https://x"), P),
            [{"type": "input_image", "detail": "auto", "image_url": "https://x"}],
            {},
        ),
        (
            Image(File("f", "openai"), P),
            [{"type": "input_image", "detail": "auto", "file_id": "f"}],
            {},
        ),
        (Image(File("f", "anthropic"), P), [], OWNED),
        (Document(Base64("QQ=="), P), file("document.pdf", f"data:{PDF};base64,QQ=="), {}),
        (
            Document(Base64("QQ=="), P, "text/csv"),
            file("document.txt", "data:text/csv;base64,QQ=="),
            {},
        ),
        (
            Document(Base64("QQ=="), P, PDF, title="t", context="c", citations=True),
            file("t", f"data:{PDF};base64,QQ=="),
            {
                f"{P}.citations": "no such thing there",
                f"{P}.context": "no such thing there",
            },
        ),
        (
            Document(Url("https://x"), P, filename="a"),
            [{"type": "input_file", "file_url": "https://x"}],
            {},
        ),
        (
            Document(File("f", "openai"), P, filename="a"),
            [{"type": "input_file", "file_id": "f"}],
            {},
        ),
        (Document(File("f", "gemini"), P), [], OWNED),
        (
            Document(Inline("x"), P, title="t", cache=Cache()),
            [{"type": "input_text", "text": "t\n\nx"} | EXPLICIT],
            {},
        ),
        (
            Document(Inline(parts=(Text("x"), Image(Url("https://x")))), P),
            [
                {"type": "input_text", "text": "x"},
                {"type": "input_image", "detail": "auto", "image_url": "https://x"},
            ],
            {},
        ),
        (Document(Inline(), P), [], {}),
        (
            HIT,
            [{"type": "input_text", "text": "Title (src)\n\nx"}],
            {f"{P}.citations": "no such thing there"},
        ),
        (
            SearchResult("src", "Title", ("x",), P),
            [{"type": "input_text", "text": "Title (src)\n\nx"}],
            {},
        ),
        (Audio("QQ==", "wav", P), [], {f"{P}.input_audio": "no such thing there"}),
        (Video(Url("https://x"), P), [], WHOLE),
        (Opaque("other", Raw(b"{}"), "x", P), [], WHOLE),
        (Opaque("other", Raw(b"{}"), "x", "m[0]"), [], {"m[0]": "no such thing there"}),
    ],
)
def test_parts_of_other_dialects(part: Part, items: object, lost: object) -> None:
    assert content(part) == (items, lost)


@pytest.mark.parametrize(
    ("part", "lost"),
    [
        (Image(Url("https://x"), P), WHOLE),
        (Document(Url("https://x"), P), WHOLE),
        (Document(File("f", "openai"), P), OWNED),
    ],
)
def test_the_assistant_shows_no_media(part: Part, lost: object) -> None:
    assert content(part, role="assistant") == ([], lost)


def test_the_assistant_may_quote_a_text() -> None:
    said, _ = content(Document(Inline("x"), P), HIT, role="assistant")
    assert said == "xTitle (src)\n\nx"


@pytest.mark.parametrize(("ttl", "known"), [("5m", "30m"), ("1h", "12h"), ("12h", "12h")])
def test_breakpoints_last_about_as_long(ttl: str, known: str) -> None:
    ((item,), _) = content(Text("a", P, Cache(ttl)))
    assert item["prompt_cache_breakpoint"] == {"mode": "explicit", "ttl": known}


def test_a_model_without_breakpoints_loses_them() -> None:
    lost = {f"{P}.prompt_cache_breakpoint": "no such thing there"}
    assert content(Text("a", P, Cache()), taken=NARROW) == ([{"type": "input_text", "text": "a"}], lost)  # fmt: skip


ITEM = '{"id":"rs_1","type":"reasoning","encrypted_content":"gA","summary":[{"type":"summary_text","text":""}]}'  # fmt: skip
LOCAL = Takes(reasoning_text=True)


@pytest.mark.parametrize(
    ("part", "taken", "items", "lost"),
    [
        (
            Thinking("a", P, seal(OPENAI, "reasoning", ITEM, ["a"])),
            ALL,
            [json.loads(ITEM) | {"summary": [{"type": "summary_text", "text": "a"}]}],
            {},
        ),
        (Thinking("b", P, seal(OPENAI, "reasoning", ITEM, ["a"])), ALL, [], OWNED),
        (Thinking("a", P, seal(Origin("anthropic"), "reasoning", ITEM, ["a"])), ALL, [], OWNED),
        (Thinking("a", P, seal(OPENAI, "reasoning_content", "{}", ["a"])), ALL, [], OWNED),
        (Thinking("a", P), ALL, [], WHOLE),
        (Thinking("", P), ALL, [], {}),
        (Thinking("", P), LOCAL, [], {}),
    ],
)
def test_thinking_goes_back_to_its_issuer(
    part: Thinking, taken: Takes, items: object, lost: object
) -> None:
    body, told = write(turn("assistant", part), taken=taken)
    assert (body["input"], told) == (items, lost)


def test_servers_that_read_reasoning_get_it_in_the_open() -> None:
    body, lost = write(turn("assistant", Thinking("a", P)), taken=LOCAL)
    (item,) = body["input"]
    assert item["id"].startswith("rs_")
    assert (item["summary"], item["content"]) == ([], [{"type": "reasoning_text", "text": "a"}])
    assert lost == {}


def test_what_could_not_be_opened_is_told_once() -> None:
    body, lost = write(turn("assistant", Thinking("a", P)), unopened=(P,))
    assert (body["input"], lost) == ([], OWNED)


def test_a_video_has_no_place_in_its_own_dialect_either() -> None:
    call = Call(RESPONSES, "m", (user(Video(Url("https://x"), P), "Hi"),))
    written = write_call(call, Target("m", ALL, OPENAI))
    assert [loss.path for loss in written.losses] == [P]
