"""Secrets are nowhere: one word in each place that is secret, every fault, and a look everywhere else.

A real process, its log at the level `debug`. The upstreams quote whatever they were sent.
"""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.net.fakes import LAST_CHUNK, Client, FakeUpstream, Got, Seen, chunk, head, whole
from tests.net.fakes_http2 import Http2Client
from tests.net.world import CHAT, MESSAGES, delta, error_body, preamble, reply_body, reply_stream

pytestmark = pytest.mark.slow

UPSTREAM_KEY, CALLER_KEY, CLIENT_KEY = "canary-upstream", "canary-caller", "canary-client"
PROMPT, REPLY, COOKIE, BROKEN = "canary-prompt", "canary-reply", "canary-cookie", "canary-broken"
FETCHED = "canary-from-a-file"

STATUSES = (400, 401, 403, 404, 429, 500, 503, 529)
FAULTS = (
    *(str(status) for status in STATUSES),
    "good", "cut", "stall", "silent", "garbage", "odd_json", "no_http", "odd_head", "planted",
)  # fmt: skip

PLANT = """
import sys
from rawproxy.app.cli import main
from rawproxy.gateway.exchange import Exchange
real = Exchange.on_head
def on_head(self, *arguments):
    if self.ask.model.endswith("planted"):
        raise KeyError(self.ask.body.decode())
    return real(self, *arguments)
Exchange.on_head = on_head
sys.exit(main())
"""
"""A fault of ours that has the request in its message."""


def message(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def bodies(text: str, model: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """A request in each dialect: its path and its body."""
    human = f"\n\nHuman: {text}\n\nAssistant:"
    parts = [{"role": "user", "parts": [{"text": text}]}]
    blocks = [{"role": "user", "content": [{"text": text}]}]
    named = {"model": model}
    return {
        "openai_chat": ("/v1/chat/completions", named | {"messages": message(text)}),
        "openai_responses": ("/v1/responses", named | {"input": text}),
        "openai_completions": ("/v1/completions", named | {"prompt": text}),
        "anthropic_messages": (
            "/v1/messages", named | {"max_tokens": 9, "messages": message(text)},
        ),
        "anthropic_complete": (
            "/v1/complete", named | {"max_tokens_to_sample": 9, "prompt": human},
        ),
        "gemini": (f"/v1beta/models/{model}:generateContent", {"contents": parts}),
        "bedrock_converse": (f"/model/{model}/converse", {"messages": blocks}),
        "ollama_chat": ("/api/chat", named | {"messages": message(text), "stream": False}),
    }  # fmt: skip


STREAMED = {
    "openai_chat", "openai_responses", "openai_completions", "anthropic_messages",
    "anthropic_complete", "ollama_chat",
}  # fmt: skip
"""Dialects that ask for a stream in the body; the others do by their path."""


def upstream_of(dialect: str) -> Any:
    """An upstream that does what the model's name says, and quotes the request wherever it can."""

    async def script(seen: Seen, wire: trio.SocketStream) -> None:
        try:
            asked = json.loads(seen.body)
        except ValueError:
            await wire.send_all(whole(400, error_body(dialect, "some_error", "no JSON")))
            return
        fault = asked["model"].rpartition("-")[2]
        quoted = (
            f"{REPLY} {json.dumps([[a.decode(), b.decode()] for a, b in seen.fields])} {PROMPT}"
        )
        words = preamble(dialect) + delta(dialect, REPLY)
        if fault.isdigit():
            error = error_body(dialect, "some_error", f"no: {quoted}")
            await wire.send_all(whole(int(fault), error, "application/json", f"x-odd: {REPLY}"))
        elif fault in ("good", "planted"):
            if asked.get("stream"):
                await wire.send_all(head(200, "text/event-stream", f"set-cookie: {REPLY}"))
                await wire.send_all(chunk(reply_stream(dialect, REPLY)) + LAST_CHUNK)
            else:
                await wire.send_all(whole(200, reply_body(dialect, REPLY)))
        elif fault == "stall":
            await wire.send_all(head() + chunk(words))
            await wire.receive_some(1)
        elif fault == "silent":
            await wire.receive_some(1)
        else:
            await wire.send_all(BROKEN_REPLIES[fault](words))
            await trio.aclose_forcefully(wire)

    return script


BROKEN_REPLIES: dict[str, Any] = {
    "cut": lambda words: head() + chunk(words),
    "garbage": lambda words: head() + chunk(words + b"data: {" + REPLY.encode() + b"\n\n"),
    "odd_json": lambda words: whole(200, b'{"id": "' + REPLY.encode() + b'", "choices": 5'),
    "no_http": lambda words: REPLY.encode() + b"\r\n\r\n",
    "odd_head": lambda words: b"HTTP/1.1 200 OK\r\nx: " + REPLY.encode() + b"\x00\r\n\r\n",
}


@dataclass
class Proxy:
    """A proxy in a process of its own, and what it was seen to say."""

    running: "subprocess.Popen[bytes]"
    url: str
    admin: str
    log: Path
    heads: list[str] = field(default_factory=list)
    errors: list[bytes] = field(default_factory=list)
    replies: list[bytes] = field(default_factory=list)

    def saw(self, got: Got) -> None:
        self.heads.append(json.dumps(got.fields))
        (self.replies if got.status == 200 else self.errors).append(got.body)


@asynccontextmanager
async def proxy(folder: Path, config: str) -> AsyncIterator[Proxy]:
    """Start one with this configuration; the secrets come from its environment and from a file."""
    (folder / "rawproxy.toml").write_text(config)
    (folder / "key").write_text(FETCHED + "\n")
    environment = {
        "PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", os.getcwd()),
        "UPSTREAM_KEY": UPSTREAM_KEY, "CALLER_KEY": CALLER_KEY,
    }  # fmt: skip
    command = [sys.executable, "-c", PLANT, "serve", "--log-level", "debug"]
    with (folder / "log").open("wb") as log:
        running = subprocess.Popen(command, stderr=log, cwd=folder, env=environment)  # noqa: ASYNC220 - at once
    try:
        with trio.fail_after(20):
            while b"admin on" not in (text := (folder / "log").read_bytes()):  # noqa: ASYNC110
                await trio.sleep(0.02)
        said = text.decode().split()
        urls = [word for word in said if word.startswith("http://127.0.0.1:")]
        yield Proxy(running, urls[0], urls[1], folder / "log")
    finally:
        running.kill()
        running.wait()


def configured(urls: dict[str, str], access: str, *, forward: bool) -> str:
    """One upstream for each fault and client dialect: what befalls a key is no other one's affair."""
    lines = [
        '[server]\nlisten = ["127.0.0.1:0"]\n[admin]\nlisten = "127.0.0.1:0"',
        "[server.limits]\nconnections = 200\nbody_bytes = 20000\nbody_seconds = 1\nattempts = 2",
        "[stream]\nsilence_seconds = 0.4\nfirst_event_seconds = 0.4\nkeepalive_seconds = 0.2",
        access,
    ]
    for dialect, url in urls.items():
        for client in bodies("", ""):
            for fault in FAULTS:
                name = f"{dialect}-{client}-{fault}"
                made = f"""[upstreams.{name.replace("_", "-")}]
provider = "compatible"
base_url = "{url}/v1"
dialects = ["{dialect}"]
"""
                made += "forward = true" if forward else 'keys = ["env:UPSTREAM_KEY", "file:key"]'
                lines += [
                    made,
                    f'[[routes]]\nmodel = "{name}"\nto = ["{name.replace("_", "-")}/*"]',
                ]
    return "\n".join(lines)


async def drive(here: Proxy, version: Any, key: str) -> None:
    """Ask in every dialect for every fault of either upstream, streamed and not."""

    async def one(client: str, dialect: str, fault: str, stream: bool) -> None:
        path, body = bodies(PROMPT, f"{dialect}-{client}-{fault}")[client]
        if stream and client in STREAMED:
            body["stream"] = True
        elif stream:
            path = path.replace(":generateContent", ":streamGenerateContent?alt=sse")
            path = path.replace("/converse", "/converse-stream")
        link = await version.connect(here.url)
        fields = {
            "authorization": f"Bearer {key}", "cookie": COOKIE, "content-type": "application/json",
        }  # fmt: skip
        try:
            await link.send("POST", path, json.dumps(body).encode(), fields)
            here.saw(await link.response())
        finally:
            await link.aclose()

    for client in bodies("", ""):
        async with trio.open_nursery() as nursery:
            for dialect in (CHAT, MESSAGES):
                for fault in FAULTS:
                    for stream in (False, True):
                        nursery.start_soon(one, client, dialect, fault, stream)


def raw(target: str, *fields: str, body: bytes = b"") -> bytes:
    lines = [f"POST {target} HTTP/1.1", "Host: localhost", *fields]
    return "\r\n".join([*lines, "", ""]).encode() + body


CHUNKED = "Transfer-Encoding: chunked"
RIGHT = f"Authorization: Bearer {CALLER_KEY}"
CHAT_PATH, MESSAGES_PATH = "/v1/chat/completions", "/v1/messages"
MODEL = f"{CHAT}-{MESSAGES}-good".encode()
HALF = b'{"model": "' + MODEL + b'", "user": "' + BROKEN.encode() + b'"'

MALFORMED = [
    BROKEN.encode() + b"\r\n\r\n",
    raw(CHAT_PATH, f"Authorization : Bearer {BROKEN}"),
    raw(CHAT_PATH, f"Authorization: Bearer {BROKEN}\x00"),
    raw(CHAT_PATH, f"X-Api-Key {BROKEN}"),
    raw(CHAT_PATH, f" Cookie: {BROKEN}"),
    raw(CHAT_PATH, f"Content-Length: {BROKEN}"),
    raw(CHAT_PATH, f"Transfer-Encoding: {BROKEN}"),
    raw(CHAT_PATH, f"Expect: {BROKEN}", "Content-Length: 0"),
    raw(CHAT_PATH, f"Host: {BROKEN}/"),
    raw(f"http://{BROKEN}@x/", "Content-Length: 0"),
    raw(MESSAGES_PATH, "Cookie: " + BROKEN * 4000),
    raw(MESSAGES_PATH, CHUNKED, RIGHT, body=BROKEN.encode() + b"\r\n"),
    raw(MESSAGES_PATH, CHUNKED, RIGHT, body=b"1;" + BROKEN.encode() + b"\x00\r\nx\r\n0\r\n\r\n"),
    raw(MESSAGES_PATH, CHUNKED, RIGHT, body=b"1\r\nx\r\n0\r\n" + BROKEN.encode() + b"\r\n\r\n"),
    raw(MESSAGES_PATH, "Content-Length: 30000", RIGHT, body=BROKEN.encode() * 100),
    raw(MESSAGES_PATH, "Content-Length: 300", RIGHT, body=BROKEN.encode()),
    *(
        raw(path, f"Content-Length: {len(body)}", RIGHT, "Connection: close", body=body)
        for path in (CHAT_PATH, MESSAGES_PATH, "/v1/responses", "/api/chat", "/model/m/converse")
        for body in (
            HALF,
            HALF + b', "messages": {"' + BROKEN.encode() + b'": 1}}',
            HALF.replace(b"broken", b"broken\xff") + b"}",
            b'["' + BROKEN.encode() + b'"]',
            BROKEN.encode(),
        )
    ),
    *(
        raw(path, f"Content-Length: {len(body)}", RIGHT, strict, "Connection: close", body=body)
        for strict in ("x-rawproxy-strict: 1", "x-rawproxy-strict: 0")
        for path, fields in (
            (CHAT_PATH, {"messages": [{"role": BROKEN, "content": BROKEN}]}),
            (CHAT_PATH, {"messages": [{"role": "user", "content": [{"type": "text", "txt": BROKEN}]}]}),
            (CHAT_PATH, {"messages": message(BROKEN), "logit_bias": {"5": 1}, "user": BROKEN}),
            (MESSAGES_PATH, {"messages": message(BROKEN), "max_tokens": BROKEN}),
            (MESSAGES_PATH, {"messages": [{"role": "user", "content": [{"type": BROKEN}]}]}),
            (MESSAGES_PATH, {"messages": message(BROKEN), "max_tokens": 5, "top_k": 5}),
        )
        for body in [json.dumps({"model": f"{CHAT}-{MESSAGES}-good"} | fields).encode()]
    ),
    *(
        raw(target, "Content-Length: 2", *fields, "Connection: close", body=b"{}")
        for target, fields in (
            (f"{CHAT_PATH}?key={BROKEN}", ()),
            (f"/nowhere?key={BROKEN}", ()),
            (CHAT_PATH, (f"Authorization: Bearer {BROKEN}",)),
            (CHAT_PATH, (f"Authorization: Basic {BROKEN}",)),
            (CHAT_PATH, (f"Authorization: {BROKEN}",)),
            (MESSAGES_PATH, (f"X-Api-Key: {BROKEN}",)),
            ("/v1beta/models/m:generateContent", (f"X-Goog-Api-Key: {BROKEN}",)),
            (MESSAGES_PATH, (f"Cookie: {BROKEN}", f"Origin: https://{BROKEN}.example")),
        )
    ),
]  # fmt: skip


async def send_malformed(here: Proxy) -> None:
    """Send what is broken; each gets an answer, and all of that counts as an error."""

    async def one(data: bytes) -> None:
        link = await Client.connect(here.url)
        got = b""
        try:
            await link.stream.send_all(data)
            while more := await link.stream.receive_some(65536):
                got += more
        except trio.BrokenResourceError:
            pass
        finally:
            await link.aclose()
        assert got.startswith(b"HTTP/1.1 "), data[:80]
        here.errors.append(got)

    async with trio.open_nursery() as nursery:
        for data in MALFORMED:
            nursery.start_soon(one, data)


async def look(here: Proxy) -> dict[str, bytes]:
    """Everything that may be seen from outside, but the replies themselves."""
    pages = b""
    for path in ("/metrics", "/healthz", "/readyz", "/"):
        link = await Client.connect(here.admin)
        await link.send("GET", path)
        pages += (await link.response()).body
        await link.aclose()
    about = Path(f"/proc/{here.running.pid}")
    return {
        "admin pages": pages,
        "command line": (about / "cmdline").read_bytes() + (about / "comm").read_bytes(),
        "heads": "\n".join(here.heads).encode(),
        "errors": b"\n".join(here.errors),
        "log": here.log.read_bytes(),
    }


def places_with(word: str, seen: dict[str, bytes]) -> list[str]:
    """Where a word was seen, and among what."""
    found = []
    for place, data in seen.items():
        at = data.find(word.encode())
        if at >= 0:
            found.append(f"{place}: {data[max(0, at - 300) : at + 100]!r}")
    return found


@pytest.mark.parametrize("version", [Client, Http2Client])
@pytest.mark.parametrize("mode", ["callers", "forward"])
async def test_secrets_are_nowhere(version: Any, mode: str, tmp_path: Path) -> None:
    forward = mode == "forward"
    access = '[access]\nmode = "forward"'
    if not forward:
        access = (
            '[access]\nmode = "callers"\n[[access.callers]]\nname = "team"\nkey = "env:CALLER_KEY"'
        )
    async with (
        FakeUpstream(upstream_of(CHAT)).running() as chat,
        FakeUpstream(upstream_of(MESSAGES)).running() as messages,
    ):
        urls = {CHAT: chat.url, MESSAGES: messages.url}
        async with proxy(tmp_path, configured(urls, access, forward=forward)) as here:
            await drive(here, version, CLIENT_KEY if forward else CALLER_KEY)
            if version is Client:
                await send_malformed(here)
            seen = await look(here)
        sent = b"".join(value for one in (*chat.seen, *messages.seen) for _, value in one.fields)
    assert (CLIENT_KEY if forward else UPSTREAM_KEY).encode() in sent
    assert any(REPLY.encode() in body for body in here.replies)
    assert len(here.errors) > len(FAULTS)
    assert all(seen.values())
    assert b"rawproxy.record" in seen["log"]
    assert b"KeyError" in seen["log"]
    keys = [CALLER_KEY, CLIENT_KEY, UPSTREAM_KEY, FETCHED]
    found = [place for word in [*keys, BROKEN, COOKIE] for place in places_with(word, seen)]
    assert not found, "\n\n".join(found)
    seen.pop("errors")  # an upstream may quote a client's request to that client
    assert [place for word in (PROMPT, REPLY) for place in places_with(word, seen)] == []
    # Nor is a key in a reply.
    replies = {"replies": b"\n".join(here.replies)}
    assert [place for word in keys for place in places_with(word, replies)] == []
