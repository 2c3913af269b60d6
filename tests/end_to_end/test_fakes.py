"""Each SDK directly against its own vendor's fake: the fakes are what the SDKs take for the vendor.

Without this, a proxy and a fake that share a mistake agree with one another.
"""

import json
import subprocess
from typing import Any

import pytest

from tests.end_to_end.capabilities import CAPABILITIES
from tests.end_to_end.models import (
    CHAT_SIGNATURE,
    COUNTED,
    ERRORS,
    GEMINI_SIGNATURE,
    HOSTED,
    MIDWAY,
    MODELS,
    RESPONSES_SIGNATURE,
    SIGNATURE,
    USAGE,
)
from tests.end_to_end.normal import NOTHING, PIXEL
from tests.end_to_end.sdks import PYTHONS, SDKS, Sdk, drive
from tests.net.fakes import FakeUpstream, ask

pytestmark = pytest.mark.slow

ROWS = [
    pytest.param(sdk, python, mode, id=f"{sdk.script}-{python}-{mode}")
    for sdk in SDKS.values()
    for python in sdk.pythons
    for mode in sdk.modes
]
SIGNATURES = {
    "openai_chat": CHAT_SIGNATURE, "openai_responses": RESPONSES_SIGNATURE,
    "anthropic_messages": SIGNATURE, "gemini": GEMINI_SIGNATURE, "bedrock_converse": SIGNATURE,
}  # fmt: skip
SPEECH = MODELS | HOSTED


def can(sdk: Sdk, what: str) -> bool:
    return what in CAPABILITIES[sdk.dialect] and what not in sdk.lacks


def scenarios(sdk: Sdk, python: str) -> list[str]:
    """What can be asked of it."""
    asked = ["text", "stops", "errors", "broken", "mid_error"]
    asked += [name for name in ("tools", "thinking", "image") if can(sdk, name)]
    # The generation before cannot ask Responses to count.
    if can(sdk, "count") and (sdk.dialect, python) != ("openai_responses", "legacy"):
        asked.append("count")
    return asked


def means(sdk: Sdk, **more: Any) -> dict[str, Any]:
    """What "Hello there!" means in its dialect."""
    total, cached, output = USAGE
    usage = {
        "input": total if can(sdk, "usage") else None,
        "cached": cached if can(sdk, "cached") else None,
        "output": output if can(sdk, "usage") else None,
    }
    said = {"text": "Hello there!", "thinking": "", "tools": [], "stop": "end"}
    return said | usage | more


@pytest.mark.parametrize(("sdk", "python", "mode"), ROWS)
async def test_its_own_sdk_takes_it_for_the_vendor(sdk: Sdk, python: str, mode: str) -> None:
    """Everything that the dialect has words for, streaming and not, comes out as it was meant."""
    names = scenarios(sdk, python)
    async with FakeUpstream(SPEECH[sdk.upstream]).running() as fake:
        got = await drive(sdk, python, fake.url, mode, *names)
        seen = [one.body.decode() for one in fake.seen]
    assert got["text"] == means(sdk)
    assert got["errors"] == {word: list(told[:2]) for word, told in ERRORS.items()}
    assert got["stops"] == {
        "stop:end": "end",
        "stop:length": "length" if can(sdk, "length") else "end",
        "stop:blocked": "filter" if can(sdk, "filter") else "end",
    }
    # No SDK notices that a stream ended before its stop; half a body of JSON, each of them does.
    assert (got["broken"] == NOTHING) == (mode != "blocking")
    assert MIDWAY[1] in got["mid_error"]
    if "count" in got:
        assert got["count"] == COUNTED
    if "image" in got:
        assert got["image"] == means(sdk)
        assert [body for body in seen if "what is it?" in body and has_pixel(body)]
    if "tools" in got:
        check_tools(sdk, got["tools"], seen)
    if "thinking" in got:
        check_thinking(sdk, got["thinking"], seen)


def has_pixel(body: str) -> bool:
    """Whether a request holds the image, in either alphabet of base64."""
    return PIXEL in body or PIXEL.replace("+", "-").replace("/", "_") in body


def check_tools(sdk: Sdk, got: dict[str, Any], seen: list[str]) -> None:
    tools = [["weather", {"city": "Oslo", "exact": 1.5}], ["clock", {}]]
    text = "" if sdk.dialect == "openai_chat" else "I look."
    assert got["first"] == means(sdk, text=text, tools=tools, stop="tools")
    assert got["second"] == means(sdk)
    assert got["ids_unique"]
    second = next(body for body in seen if "result of weather" in body)
    assert "result of clock" in second
    if sdk.dialect == "gemini":  # its calls are sealed, too
        assert signature_of(sdk) in second.replace("-", "+").replace("_", "/")


def check_thinking(sdk: Sdk, got: dict[str, Any], seen: list[str]) -> None:
    assert got["first"] == means(sdk, thinking="Let me see.")
    assert got["second"] == means(sdk)
    if can(sdk, "signature"):
        second = next(body for body in seen if "go on" in body)
        assert signature_of(sdk) in second.replace("-", "+").replace("_", "/")


def signature_of(sdk: Sdk) -> str:
    """Whichever alphabet of base64 the SDK returns it in."""
    return SIGNATURES[sdk.dialect].replace("-", "+").replace("_", "/")


@pytest.mark.parametrize("mode", ["stream", "blocking"])
async def test_ollama_generates(mode: str) -> None:
    async with FakeUpstream(MODELS["ollama_chat"]).running() as fake:
        sdk = SDKS["ollama"]
        got = await drive(sdk, "new", fake.url, mode, "generate")
        assert got["generate"] == means(sdk)


async def test_gemini_streams_an_array_unless_it_is_asked_for_frames() -> None:
    """No SDK asks for it; the page documents it."""
    body = json.dumps({"contents": [{"parts": [{"text": "say hello"}]}]}).encode()
    async with FakeUpstream(MODELS["gemini"]).running() as fake:
        got = await ask(fake.url, "/v1beta/models/m:streamGenerateContent", body)
    parts = [one["candidates"][0]["content"]["parts"][0] for one in json.loads(got.body)]
    assert "".join(part["text"] for part in parts) == "Hello there!"


@pytest.mark.parametrize("stream", [True, False])
async def test_plain_text_is_text(stream: bool) -> None:
    async with FakeUpstream(MODELS["plain_text"]).running() as fake:
        got = await ask(fake.url, "/", json.dumps({"prompt": "hi", "stream": stream}).encode())
        cut = await ask(fake.url, "/", json.dumps({"prompt": "break", "stream": stream}).encode())
    assert (got.body, got.clean) == (b"Hello there!", True)
    assert (cut.body, cut.clean) == (b"Hell", False)


@pytest.mark.parametrize("stream", [True, False])
async def test_plain_text_comes_in_lines_too(stream: bool) -> None:
    async with FakeUpstream(HOSTED["plain_text_lines"]).running() as fake:

        async def asked(word: str) -> tuple[bytes, bool]:
            body = json.dumps({"prompt": f"User: {word}\n\nAssistant:", "stream": stream})
            got = await ask(fake.url, "/", body.encode())
            return got.body, got.clean

        whole, clean = await asked("hi")
        failed, _ = await asked("fail-in-stream")
        _, broke_off_cleanly = await asked("break")
    texts = [json.loads(line)["token"]["text"] for line in whole.splitlines()]
    assert ("".join(texts), clean) == ("Hello there!", True)
    assert json.loads(failed.splitlines()[-1])["error"] == MIDWAY[1]
    assert broke_off_cleanly == (not stream)


def test_there_is_a_fake_for_every_dialect() -> None:
    assert set(MODELS) == set(CAPABILITIES)
    assert {sdk.dialect for sdk in SDKS.values()} == set(MODELS) - {"plain_text"}


def test_the_sdks_are_the_ones_we_mean() -> None:
    """The versions that clients run; a silent upgrade would test something else."""
    script = (
        "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"
    )
    wanted = {
        "new": {"google-genai": "3.3.0", "boto3": "1.44.5", "botocore": "1.44.5", "ollama": "0.6.3"},
        "ancient": {"anthropic": "0.2.10"},
    }  # fmt: skip
    for name, versions in wanted.items():
        command = [str(PYTHONS[name]), "-c", script, *versions]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout.split() == list(versions.values())
