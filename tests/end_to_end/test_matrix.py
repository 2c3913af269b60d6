"""Every client against every upstream, streaming, blocking and crossed, read by the vendors' own SDKs.

A row is an SDK in one of its modes. Behind the proxy stand all the fakes, each twice: once as it is,
and once crossed, so that it streams where a body was asked for and the other way round.
"""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
import trio

from rawproxy.app.serve import open_proxy
from tests.conftest import ROOT
from tests.end_to_end.capabilities import CAPABILITIES
from tests.end_to_end.hosts import HOSTS, Host
from tests.end_to_end.models import (
    CHAT_SIGNATURE,
    ERRORS,
    GEMINI_SIGNATURE,
    MIDWAY,
    RESPONSES_SIGNATURE,
    SIGNATURE,
    USAGE,
)
from tests.end_to_end.normal import NOTHING, PIXEL
from tests.end_to_end.sdks import SDKS, Sdk, drive_all
from tests.end_to_end.slow import slowly
from tests.net.fakes import FakeUpstream, Script, Seen

SIGNATURES = {
    "openai_chat": CHAT_SIGNATURE, "openai_responses": RESPONSES_SIGNATURE,
    "anthropic_messages": SIGNATURE, "gemini": GEMINI_SIGNATURE, "bedrock_converse": SIGNATURE,
}  # fmt: skip
TABLE = ROOT / "docs" / "MATRIX.md"


ROWS = [
    pytest.param(sdk, python, mode, id=f"{sdk.script}-{python}-{mode}",
                 marks=pytest.mark.slow)
    for sdk in SDKS.values()
    for python in sdk.pythons
    for mode in sdk.modes
]  # fmt: skip

_STREAMING = (
    (b":generateContent", b":streamGenerateContent?alt=sse"),
    (b"/converse", b"/converse-stream"),
    (b"/invoke", b"/invoke-with-response-stream"),
    (b":rawPredict", b":streamRawPredict"),
)


def crossed(script: Script) -> Script:
    """A model that streams when a body was asked for, and sends a body when a stream was."""

    async def model(seen: Seen, wire: trio.SocketStream) -> None:
        request = json.loads(seen.body)
        target = seen.target
        for blocking, streaming in _STREAMING:
            if target.endswith(streaming):
                target = target.removesuffix(streaming) + blocking
                break
            if target.endswith(blocking):
                target = target.removesuffix(blocking) + streaming
                break
        if target == seen.target or "stream" in request:
            request["stream"] = not request.get("stream", False)
            if target.endswith(b"/completions"):  # it tells usage only when it is asked
                request["stream_options"] = {"include_usage": True}
        await script(replace(seen, target=target, body=json.dumps(request).encode()), wire)

    return model


@asynccontextmanager
async def proxied(
    host: Host, script: Script, **stream: float
) -> AsyncIterator[tuple[str, FakeUpstream]]:
    """A proxy in front of one fake; its address, and the fake. `stream` is more of that section."""
    async with FakeUpstream(script).running() as fake:
        config = {
            "server": {"listen": ["127.0.0.1:0"]}, "admin": {"listen": ""},
            "stream": {"grammar_sample": 1} | stream,
            "upstreams": {"up": host.section(fake.url)},
            "routes": [{"model": "*", "to": [f"up/{host.model}"]}],
        }  # fmt: skip
        async with open_proxy(config, keep=_keep) as proxy:
            yield proxy.urls[0], fake


def _keep(record: Any) -> None:
    assert record.violations == {}, record


def can(sdk: Sdk, host: Host, what: str) -> bool:
    """Whether both ends have words for something."""
    if what == "thinking" and sdk.dialect == "anthropic_messages" and host.dialect == "ollama_chat":
        return True
    return what in CAPABILITIES[sdk.dialect] & CAPABILITIES[host.dialect]


def scenarios(sdk: Sdk, python: str, host: Host, *, plain: bool) -> list[str]:
    """What is asked of a cell."""
    asked = ["text", "stops", "errors", "broken", "mid_error"]
    asked += [name for name in ("tools", "thinking", "image") if can(sdk, host, name)]
    counts = "count" in CAPABILITIES[sdk.dialect] - sdk.lacks
    if plain and counts and (sdk.dialect, python) != ("openai_responses", "legacy"):
        asked.append("count")
    return asked


def means(sdk: Sdk, host: Host, got: Any, **more: Any) -> dict[str, Any]:
    """What "Hello there!" means in this cell. Counts that one end has no word for are not looked at."""
    said = {"text": "Hello there!", "thinking": "", "tools": [], "stop": "end"} | more
    for name, count, what in zip(
        ("input", "cached", "output"), USAGE, ("usage", "cached", "usage"), strict=True
    ):
        said[name] = count if can(sdk, host, what) else got.get(name)
    if "stop" not in CAPABILITIES[sdk.dialect]:
        said["stop"] = got.get("stop")
    return said


class Cell:
    """One SDK at one host: what was wrong."""

    def __init__(
        self, sdk: Sdk, host: Host, got: dict[str, Any], seen: list[bytes], *, plain: bool
    ) -> None:
        self._sdk = sdk
        self._host = host
        self._got = got
        self._seen = [body.decode() for body in seen]
        self._plain = plain
        self.wrong: list[str] = []

    def check(self) -> None:
        for name, got in self._got.items():
            if isinstance(got, str) and name not in ("broken", "mid_error"):
                self.wrong.append(f"{name}: {got[:300]}")
            else:
                getattr(self, f"_check_{name}")(got)

    def _same(self, what: str, got: Any, expected: Any) -> None:
        if got != expected:
            self.wrong.append(f"{what}: {got} is not {expected}")

    def _can(self, what: str) -> bool:
        return can(self._sdk, self._host, what)

    def _check_text(self, got: Any) -> None:
        self._same("text", got, means(self._sdk, self._host, got))

    def _check_stops(self, got: Any) -> None:
        knows = "stop" in CAPABILITIES[self._host.dialect]
        self._same("stops", got, {
            "stop:end": "end",
            "stop:length": "length" if self._can("length") else "end",
            "stop:blocked": "filter" if self._can("filter") else "end",
        } if knows else dict.fromkeys(got, "end"))  # fmt: skip

    def _check_errors(self, got: Any) -> None:
        self._same("errors", got, {word: list(told[:2]) for word, told in ERRORS.items()})

    def _check_broken(self, got: Any) -> None:
        if got == NOTHING and self._host.name != "plain_text_lines":
            self.wrong.append("broken: nobody noticed")

    def _check_mid_error(self, got: Any) -> None:
        if "mid_error" in CAPABILITIES[self._host.dialect] or self._host.name == "plain_text_lines":
            if MIDWAY[1] not in got:
                self.wrong.append(f"mid_error: {got}")
        elif got == NOTHING:
            self.wrong.append("mid_error: nobody noticed")

    def _check_tools(self, got: Any) -> None:
        tools = [["weather", {"city": "Oslo", "exact": 1.5}], ["clock", {}]]
        text = "" if self._host.dialect == "openai_chat" else "I look."
        first = means(self._sdk, self._host, got["first"], text=text, tools=tools, stop="tools")
        self._same("tools", got["first"], first)
        self._same("tools, second turn", got["second"], means(self._sdk, self._host, got["second"]))
        self._same("ids", got["ids_unique"], True)
        second = next((body for body in self._seen if "result of weather" in body), "")
        if "result of clock" not in second:
            self.wrong.append("tools: the results did not come upstream")

    def _check_thinking(self, got: Any) -> None:
        first = means(self._sdk, self._host, got["first"], thinking="Let me see.")
        self._same("thinking", got["first"], first)
        self._same(
            "thinking, second turn", got["second"], means(self._sdk, self._host, got["second"])
        )
        if self._can("signature"):
            second = next((body for body in self._seen if "go on" in body), "")
            if _standard(SIGNATURES[self._host.dialect]) not in _standard(second):
                self.wrong.append("thinking: the signature did not come back")

    def _check_image(self, got: Any) -> None:
        self._same("image", got, means(self._sdk, self._host, got))
        shown = [body for body in self._seen if "what is it?" in body]
        if not any(_standard(PIXEL) in _standard(body) for body in shown):
            self.wrong.append("image: it did not come upstream")

    def _check_count(self, got: Any) -> None:
        if not (isinstance(got, int) and got > 0):
            self.wrong.append(f"count: {got}")


def _standard(text: str) -> str:
    """Base64 in whatever alphabet, in one."""
    return text.replace("-", "+").replace("_", "/")


@pytest.mark.parametrize(("sdk", "python", "mode"), ROWS)
async def test_every_upstream_serves_this_client(sdk: Sdk, python: str, mode: str) -> None:
    places = [(host, plain) for host in HOSTS.values() for plain in (True, False)]
    if mode == "accumulate":
        places = [(host, plain) for host, plain in places if plain]
    async with AsyncExitStack() as stack:
        jobs, fakes = [], []
        for host, plain in places:
            script = host.script if plain else crossed(host.script)
            url, fake = await stack.enter_async_context(proxied(host, script))
            jobs.append((url, scenarios(sdk, python, host, plain=plain)))
            fakes.append(fake)
        found = await drive_all(sdk, python, mode, jobs)
    wrong = []
    for (host, plain), got, fake in zip(places, found, fakes, strict=True):
        cell = Cell(sdk, host, got, [one.body for one in fake.seen], plain=plain)
        cell.check()
        wrong += [f"{host.name}{'' if plain else ' (crossed)'}: {one}" for one in cell.wrong]
    assert wrong == [], "\n" + "\n".join(wrong)


STREAMING = [row for row in ROWS if row.values[2] != "blocking"]


@pytest.mark.parametrize(("sdk", "python", "mode"), STREAMING)
async def test_every_sdk_lives_with_keepalives(sdk: Sdk, python: str, mode: str) -> None:
    """Before the reply begins, and in the middle of it. Real time: an SDK has no other clock."""
    async with AsyncExitStack() as stack:
        jobs = []
        for name in (sdk.dialect, "openai_chat"):  # one that is passed, and one that is translated
            script = slowly(HOSTS[name].script, patience=0.2)
            slow = await stack.enter_async_context(
                proxied(HOSTS[name], script, keepalive_seconds=0.04)
            )
            jobs.append((slow[0], ["text"]))
        found = await drive_all(sdk, python, mode, jobs)
    assert [got["text"]["text"] for got in found] == ["Hello there!"] * 2


def test_the_table_tells_what_is_tested(*, regen: bool) -> None:
    """docs/MATRIX.md is made of the same tables that the test walks."""
    lines = [
        "# Every dialect to every dialect",
        "",
        "What a client of one dialect (down) gets from an upstream of another one (across). Every cell is asked for text, stop",
        "reasons, usage, errors before and inside the reply, replies that break off, keepalives; and, where both ends have words for",
        "it: **t**ools (two at once, and a second turn), t**h**inking, a **s**ignature that comes back to its issuer, an **i**mage.",
        "Each is tested streaming, blocking, and crossed (a client that streams on an upstream that does not, and the other way",
        "round) by the vendors' own SDKs over real sockets: `pytest tests/end_to_end/test_matrix.py`; keepalives of every cell in",
        "`tests/faults/test_keepalive.py`. This page is made by the former.",
        "",
        f"| client | {' | '.join(HOSTS)} |",
        "|---" * (len(HOSTS) + 1) + "|",
    ]
    marks = {"tools": "t", "thinking": "h", "signature": "s", "image": "i"}
    for script, sdk in SDKS.items():
        cells = [
            "".join(mark for what, mark in marks.items() if can(sdk, host, what)) or "text"
            for host in HOSTS.values()
        ]
        lines.append(f"| {sdk.upstream} ({script.partition('_')[0]} SDK) | {' | '.join(cells)} |")
    text = "\n".join(lines) + "\n"
    if regen:
        TABLE.write_text(text)
    assert TABLE.read_text() == text
