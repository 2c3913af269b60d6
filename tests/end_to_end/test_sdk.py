"""The official SDKs as clients, old and new, against either vendor's dialect, over real sockets."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.conftest import ROOT
from tests.end_to_end.models import CHAT_SIGNATURE, MODELS, SIGNATURE, USAGE
from tests.net.fakes import FakeUpstream, Script
from tests.net.world import CHAT, MESSAGES, World, world

HERE = Path(__file__).parent
LEGACY = ROOT / ".venvs" / "legacy" / "bin" / "python"
VERSIONS = {"new": Path(sys.executable), "legacy": LEGACY}

pytestmark = pytest.mark.slow
versions = pytest.mark.parametrize("version", VERSIONS)
modes = pytest.mark.parametrize("mode", ["stream", "blocking"])
upstreams = pytest.mark.parametrize("upstream", [CHAT, MESSAGES])

TOTAL, CACHED, OUTPUT = USAGE


async def drive(sdk: str, version: str, url: str, mode: str, *scenarios: str) -> dict[str, Any]:
    """Run scenarios in a process of their own; return what the SDK saw."""
    python = VERSIONS[version]
    if not python.exists():
        pytest.fail("the old SDKs are not set up: `make test` does it")
    command = [str(python), str(HERE / f"client_{sdk}.py"), url, mode, *scenarios]
    environment = {key: value for key, value in os.environ.items() if "PROXY" not in key.upper()}
    done = await trio.run_process(
        command, capture_stdout=True, capture_stderr=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr.decode()
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def sent(here: World, at: int) -> dict[str, Any]:
    """A request that reached the upstream."""
    body: dict[str, Any] = json.loads(here.upstreams["up"].seen[at].body)
    return body


@upstreams
@versions
@modes
async def test_anthropic_sdk(upstream: str, version: str, mode: str) -> None:
    """Text, parallel tools with a second turn, an image, stop reasons, usage, errors."""
    async with world(MODELS[upstream], upstream) as here:
        got = await drive(
            "anthropic",
            version,
            here.url,
            mode,
            "text",
            "tools",
            "image",
            "stops",
            "failure",
            "broken",
        )
        assert got["text"] == {
            "content": [{"type": "text", "text": "Hello there!"}],
            "stop_reason": "end_turn", "stop_sequence": None,
            "input": TOTAL - CACHED, "cache_read": CACHED, "output": OUTPUT,
        }  # fmt: skip
        calls = [block for block in got["tools"]["first"]["content"] if block["type"] == "tool_use"]
        assert [(call["name"], call["input"]) for call in calls] == [
            ("weather", {"city": "Oslo", "exact": 1.5}), ("clock", {}),
        ]  # fmt: skip
        assert got["tools"]["first"]["stop_reason"] == "tool_use"
        assert got["tools"]["second"]["content"] == [{"type": "text", "text": "Hello there!"}]
        assert len({call["id"] for call in calls}) == 2
        assert got["stops"] == [
            "end_turn",
            "max_tokens",
            "refusal" if upstream == CHAT else "end_turn",
        ]
        assert got["failure"]["error:429"][:2] == ["RateLimitError", 429]
        assert got["failure"]["error:500"][:2] == ["InternalServerError", 500]
        assert got["failure"]["error:400"] == ["BadRequestError", 400, "no such thing"]
        assert got["broken"] != "no error"
        _check_second_turn(upstream, sent(here, 2), [call["id"] for call in calls])
        _check_image(upstream, sent(here, 3))


@upstreams
@versions
@modes
async def test_openai_sdk(upstream: str, version: str, mode: str) -> None:
    """Text, parallel tools with a second turn, an image, stop reasons, usage, errors."""
    async with world(MODELS[upstream], upstream) as here:
        got = await drive(
            "openai",
            version,
            here.url,
            mode,
            "text",
            "tools",
            "image",
            "stops",
            "failure",
            "broken",
        )
        text = got["text"]
        assert (text["text"], text["finish"]) == ("Hello there!", "stop")
        assert (text["input"], text["cached"], text["output"]) == (TOTAL, CACHED, OUTPUT)
        first = got["tools"]["first"]
        assert [name for _, name, _ in first["tools"]] == ["weather", "clock"]
        arguments = [json.loads(written) for _, _, written in first["tools"]]
        assert arguments == [{"city": "Oslo", "exact": 1.5}, {}]
        assert first["finish"] == "tool_calls"
        assert got["tools"]["second"]["text"] == "Hello there!"
        refused = "content_filter" if upstream == MESSAGES else "stop"
        assert got["stops"] == ["stop", "length", refused]
        assert got["failure"]["error:429"][:2] == ["RateLimitError", 429]
        assert got["failure"]["error:500"][:2] == ["InternalServerError", 500]
        assert got["failure"]["error:400"] == ["BadRequestError", 400, "no such thing"]
        assert got["broken"] != "no error"
        _check_second_turn(upstream, sent(here, 2), [tool_id for tool_id, _, _ in first["tools"]])
        _check_image(upstream, sent(here, 3))


def _check_second_turn(upstream: str, request: dict[str, Any], ids: list[str]) -> None:
    """Both calls and both results reached the upstream, in its own words."""
    messages = request["messages"]
    if upstream == CHAT:
        calls = next(message["tool_calls"] for message in messages if message.get("tool_calls"))
        assert [call["id"] for call in calls] == ids
        assert json.loads(calls[0]["function"]["arguments"]) == {"city": "Oslo", "exact": 1.5}
        results = [message for message in messages if message["role"] == "tool"]
        assert [result["tool_call_id"] for result in results] == ids
        assert [result["content"] for result in results] == ["result of weather", "result of clock"]
    else:
        uses = [block for block in messages[1]["content"] if block["type"] == "tool_use"]
        assert [use["id"] for use in uses] == ids
        assert uses[0]["input"] == {"city": "Oslo", "exact": 1.5}
        results = messages[2]["content"]
        assert [result["tool_use_id"] for result in results] == ids
        assert [_text_of(result["content"]) for result in results] == [
            "result of weather", "result of clock",
        ]  # fmt: skip


def _text_of(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


def _check_image(upstream: str, request: dict[str, Any]) -> None:
    part = request["messages"][-1]["content"][0]
    if upstream == CHAT:
        assert part["image_url"]["url"].startswith("data:image/png;base64,iVBOR")
    else:
        assert part["source"]["media_type"] == "image/png"
        assert part["source"]["data"].startswith("iVBOR")


@versions
@modes
async def test_a_signature_survives_the_trip_through_chat(version: str, mode: str) -> None:
    """Messages upstream, chat client: thinking and its signature come back byte-exact."""
    async with world(MODELS[MESSAGES], MESSAGES) as here:
        got = await drive("openai", version, here.url, mode, "thinking")
        assert got["thinking"]["first"]["reasoning"] == "Let me see."
        assert got["thinking"]["first"]["text"] == "Hello there!"
        assert SIGNATURE not in json.dumps(got)
        returned = sent(here, 1)["messages"][1]["content"]
        assert returned[0] == {
            "type": "thinking",
            "thinking": "Let me see.",
            "signature": SIGNATURE,
        }
        assert returned[1] == {"type": "redacted_thinking", "data": SIGNATURE[::-1]}
        assert returned[2]["text"] == "Hello there!"


@versions
@modes
async def test_a_signature_survives_the_trip_through_messages(version: str, mode: str) -> None:
    """Chat upstream, Messages client: its reasoning comes back byte-exact."""
    async with world(MODELS[CHAT], CHAT) as here:
        got = await drive("anthropic", version, here.url, mode, "thinking")
        block = got["thinking"]["first"]["content"][0]
        assert (block["type"], block["thinking"]) == ("thinking", "Let me see.")
        assert block["signature"].startswith("rp1.")
        [returned] = [
            message for message in sent(here, 1)["messages"] if message["role"] == "assistant"
        ]
        [detail] = returned["reasoning_details"]
        assert (detail["text"], detail["signature"]) == ("Let me see.", CHAT_SIGNATURE)


@pytest.mark.parametrize(("upstream", "tokens"), [(MESSAGES, 77), (CHAT, None)])
@versions
async def test_count_tokens(upstream: str, tokens: int | None, version: str) -> None:
    async with world(MODELS[upstream], upstream) as here:
        got = await drive("anthropic", version, here.url, "blocking", "count")
        assert got["count"] == tokens if tokens else 0 < got["count"] < 50


def original(dialect: str, case: Path, mode: str) -> Script:
    """Serves a recorded reply, in pieces of three bytes where it is a stream."""
    from tests.net.fakes import streams, whole

    if mode == "stream":
        return streams((case / "stream.sse").read_bytes(), piece=3)

    async def script(seen: Any, wire: trio.SocketStream) -> None:
        await wire.send_all(whole(200, (case / "reply.json").read_bytes()))

    return script


CASES = [
    (CHAT, "simple"),
    (CHAT, "single_builtin_tool"),
    (MESSAGES, "simple"),
    (MESSAGES, "single_builtin_tool"),
]
OWN = {CHAT: "openai", MESSAGES: "anthropic"}
OTHER = {CHAT: "anthropic", MESSAGES: "openai"}


def meaning(sdk: str, seen: dict[str, Any]) -> dict[str, Any]:
    """What a reply means, whichever SDK read it."""
    if sdk == "openai":
        stop = {
            "stop": "end",
            "length": "length",
            "tool_calls": "tools",
            "content_filter": "filter",
        }
        return {
            "text": seen["text"] or "",
            "thinking": seen["reasoning"] or "",
            "tools": [[one, name, json.loads(written)] for one, name, written in seen["tools"]],
            "stop": stop[seen["finish"]],
            "usage": [seen["input"], seen["cached"], seen["output"]],
        }
    stop = {"end_turn": "end", "max_tokens": "length", "tool_use": "tools", "refusal": "filter"}
    blocks = seen["content"]
    uses = [block for block in blocks if block["type"] == "tool_use"]
    return {
        "text": "".join(block["text"] for block in blocks if block["type"] == "text"),
        "thinking": "".join(block["thinking"] for block in blocks if block["type"] == "thinking"),
        "tools": [[block["id"], block["name"], block["input"]] for block in uses],
        "stop": stop[seen["stop_reason"]],
        "usage": [seen["input"] + (seen["cache_read"] or 0), seen["cache_read"], seen["output"]],
    }


@pytest.mark.parametrize(("dialect", "name"), CASES)
@modes
async def test_recorded_replies_mean_the_same_to_both_sdks(
    dialect: str, name: str, mode: str, recorded: Path
) -> None:
    """Read by its own SDK directly, and by the other vendor's through the proxy."""
    script = original(dialect, recorded / dialect / name, mode)
    async with FakeUpstream(script).running() as direct:
        own = await drive(OWN[dialect], "new", direct.url, mode, "plain")
    async with world(script, dialect) as here:
        other = await drive(OTHER[dialect], "new", here.url, mode, "plain")
    first, second = meaning(OWN[dialect], own["plain"]), meaning(OTHER[dialect], other["plain"])
    if dialect == MESSAGES:
        # Written tokens count as input in chat; Messages tells them beside it.
        usage = (
            json.loads((recorded / dialect / name / "reply.json").read_bytes())["usage"]
            if mode == "blocking"
            else _streamed_usage(recorded / dialect / name)
        )
        first["usage"][0] += usage.get("cache_creation_input_tokens") or 0
    assert second == first


def _streamed_usage(case: Path) -> dict[str, int]:
    line = next(
        one
        for one in (case / "stream.sse").read_text().splitlines()
        if "message_start" in one and one.startswith("data")
    )
    usage: dict[str, int] = json.loads(line.removeprefix("data: "))["message"]["usage"]
    return usage


def test_the_sdks_are_the_ones_we_mean() -> None:
    """The versions that clients run; a silent upgrade would test something else."""
    script = "import anthropic, openai; print(anthropic.__version__, openai.__version__)"
    found = {
        name: subprocess.run(
            [python, "-c", script], capture_output=True, text=True, check=True
        ).stdout.split()
        for name, python in VERSIONS.items()
    }
    assert found == {"new": ["2.10.0", "3.51.0"], "legacy": ["0.125.0", "1.109.1"]}
