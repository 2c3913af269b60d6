"""What the documents say is tried: every command runs, every link leads somewhere.

The README's transcript is made by a real run. After a wanted change:
    pytest tests/test_docs.py --regen-golden && git diff README.md
"""

import re
import shlex
import shutil
import sys
import tomllib
from pathlib import Path

import pytest
import trio

from rawproxy.app.serve import open_proxy
from tests.conftest import ROOT
from tests.net.fakes import FakeUpstream, streams
from tests.net.world import CHAT, delta, end, preamble, stop, upstream

README = ROOT / "README.md"
DOCUMENTS = [
    README,
    ROOT / "CONTRIBUTING.md",
    ROOT / "bench" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)#]+)\)")


def commands(path: Path) -> list[str]:
    """The commands of a document, lines that end in a backslash joined."""
    joined = [block.replace("\\\n", " ") for block in BLOCK.findall(path.read_text())]
    return [line for block in joined for line in block.splitlines() if line.strip()]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    targets = [one for one in LINK.findall(path.read_text()) if "://" not in one]
    missing = [one for one in targets if not (path.parent / one).exists()]
    assert missing == []


def test_make_targets_are_there() -> None:
    text = "".join(path.read_text() for path in DOCUMENTS)
    named = set(re.findall(r"(?:`|^ {4})make ([a-z-]+)\b", text, re.MULTILINE))
    makefile = (ROOT / "Makefile").read_text()
    assert named
    assert {one for one in named if not re.search(rf"^{one}:", makefile, re.MULTILINE)} == set()


CURLS = [line for line in commands(README) if line.startswith("curl")]


@pytest.mark.slow
@pytest.mark.parametrize("command", CURLS, ids=lambda line: line.split()[2].rpartition("/")[2])
async def test_curl_lines_of_the_readme(command: str) -> None:
    """Against the built-in defaults, as `make run` serves them."""
    assert shutil.which("curl"), "curl is not installed"
    from rawproxy.app.config import load

    config = load(None, {}, listen=["127.0.0.1:0"], admin="")
    async with open_proxy(config) as proxy:
        words = shlex.split(command.replace("http://127.0.0.1:8080", proxy.urls[0]))
        done = await trio.run_process(
            [*words, "-s", "--noproxy", "*"], capture_stdout=True, env={"PATH": "/usr/bin:/bin"}
        )
    out = done.stdout.decode()
    assert "rivers" in out or "delta" in out
    assert out.rstrip().endswith(("[DONE]", '{"type":"message_stop"}'))


def test_every_other_command_is_one_of_ours() -> None:
    others = [line for path in DOCUMENTS for line in commands(path) if not line.startswith("curl")]
    from rawproxy.app.cli import program

    known = set(program.commands)
    for line in others:
        words = line.split()
        assert words[0] in ("rawproxy", "make") or line in TLS_COMMANDS, line
        if words[0] == "rawproxy":
            assert words[1] in known, line


TLS_PAGE = ROOT / "docs" / "TLS.md"
TLS_COMMANDS = commands(TLS_PAGE)
TOML = re.compile(r"^```toml\n(.*?)^```", re.DOTALL | re.MULTILINE)


@pytest.mark.slow
async def test_the_page_of_tls(tmp_path: Path) -> None:
    """Its first configuration with its certificate serves its curl; a wrong key is told as shown."""
    make, check, curl = (shlex.split(line) for line in TLS_COMMANDS)
    assert (make[0], check, curl[0]) == ("openssl", ["rawproxy", "check"], "curl")
    assert shutil.which("openssl"), "openssl is not installed"
    text = TLS_PAGE.read_text()
    first = TOML.findall(text)[0]
    config = tmp_path / "rawproxy.toml"
    config.write_text(first)
    environment = {"PATH": "/usr/bin:/bin"}

    async def run(*words: str) -> tuple[int | None, str]:
        done = await trio.run_process(
            words, check=False, capture_stdout=True, capture_stderr=True, cwd=tmp_path,
            env=environment,
        )  # fmt: skip
        return done.returncode, done.stdout.decode() + done.stderr.decode()

    ours = [sys.executable, "-m", "rawproxy", *check[1:]]
    environment["PYTHONPATH"] = str(ROOT)
    assert (await run(*make))[0] == 0
    assert (await run(*ours))[0] == 0
    served = first.replace(":8443", ":0").replace("privkey.pem", str(tmp_path / "privkey.pem"))
    served = served.replace("fullchain.pem", str(tmp_path / "fullchain.pem"))
    async with open_proxy(tomllib.loads(served) | {"admin": {"listen": ""}}) as proxy:
        port = proxy.urls[0].rpartition(":")[2]
        asked = [word.replace(":8443", f":{port}") for word in curl]
        code, out = await run(*asked, "-sS", "--noproxy", "*")
        assert code == 0, out
    other = [word.replace("fullchain.pem", "other.pem") for word in make]
    assert (await run(*other))[0] == 0  # a new key, which the certificate does not know
    code, out = await run(*ours)
    assert code != 0
    assert out.strip() in text


PIECES = ("Rivers ", "carry ", "rain ", "to ", "the ", "sea.")
ASKED = (
    '{"model": "any-model", "stream": true, "max_tokens": 60,'
    ' "messages": [{"role": "user", "content": "What do rivers do?"}]}'
)


async def transcript() -> str:
    """A real run: curl speaks Messages, the upstream Chat Completions."""
    body = preamble(CHAT) + b"".join(delta(CHAT, word) for word in PIECES) + stop(CHAT)
    usage = b'data: {"choices": [], "usage": {"prompt_tokens": 12, "completion_tokens": 6}}\n\n'
    async with FakeUpstream(streams(body + usage + end(CHAT))).running() as fake:
        config = {
            "server": {"listen": ["127.0.0.1:0"]}, "admin": {"listen": ""},
            "upstreams": {"vllm": upstream(fake.url, CHAT)},
            "routes": [{"model": "*", "to": ["vllm/m"]}],
        }  # fmt: skip
        async with open_proxy(config) as proxy:
            command = ["curl", "-sN", "--noproxy", "*", f"{proxy.urls[0]}/v1/messages", "-d", ASKED]
            done = await trio.run_process(command, capture_stdout=True)
    shown = f"$ curl -sN http://127.0.0.1:8080/v1/messages -d '{ASKED}'\n{done.stdout.decode()}"
    return "```console\n" + shown.rstrip() + "\n```"


@pytest.mark.slow
async def test_the_transcript_is_real(regen: bool) -> None:
    made = await transcript()
    text = README.read_text()
    pattern = re.compile(r"(<!-- transcript:.*?-->\n).*?(\n<!-- end -->)", re.DOTALL)
    if regen:
        text = pattern.sub(lambda match: match[1] + made + match[2], text)
        await trio.Path(README).write_text(text)
    found = pattern.search(text)
    assert found is not None
    assert found[0] == found[1] + made + found[2]
