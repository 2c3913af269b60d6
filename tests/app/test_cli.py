"""The command line: what it prints, where, and the exit code."""

import gc
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import rawproxy
from rawproxy.app import serve
from rawproxy.app.cli import program
from rawproxy.app.config import Config
from rawproxy.errors import ConfigError

CALL = b'{"model":"m","max_completion_tokens":5,"messages":[{"role":"user","content":"Hi"}]}'
LOSSY = CALL.replace(b'"m"', b'"m","logprobs":true')
CORRUPT = CALL.replace(b'"m"', b'"m","n":2')
REPLY = (
    b'{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"Hello"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":3,"completion_tokens":5,"total_tokens":8}}'
)
CHUNK = (
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[%b]}\n\n'
)
BEGUN = CHUNK % b'{"index":0,"delta":{"role":"assistant","content":"Hello"}}'
STREAM = BEGUN + CHUNK % b'{"index":0,"delta":{},"finish_reason":"stop"}' + b"data: [DONE]\n\n"
ERROR = (
    b'{"error":{"message":"Slow down.","type":"rate_limit_exceeded","code":"rate_limit_exceeded"}}'
)
TO_MESSAGES = ["--from", "openai_chat", "--to", "anthropic_messages"]
TO_CHAT = ["--from", "openai_chat", "--to", "openai_chat"]


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No configuration file, and none of the caller's environment."""
    monkeypatch.chdir(tmp_path)
    for name in ("RAWPROXY_CONFIG", "OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def run(*args: str, stdin: bytes = b"") -> Result:
    return CliRunner().invoke(program, args, input=stdin)


def is_one_line(text: str) -> bool:
    return text.startswith("rawproxy: ") and text.count("\n") == 1


@pytest.mark.parametrize("args", [["version"], ["--version"]])
def test_version(args: list[str]) -> None:
    result = run(*args)
    assert (result.exit_code, result.stdout.splitlines()[0]) == (
        0,
        f"rawproxy {rawproxy.__version__}",
    )


def test_version_names_python_and_the_dependencies() -> None:
    named = [line.split()[0] for line in run("version").stdout.splitlines()]
    assert named == [
        "rawproxy",
        "Python",
        "certifi",
        "click",
        "h11",
        "msgspec",
        "prometheus-client",
        "trio",
    ]


@pytest.mark.parametrize(
    "args",
    [[], ["serve"], ["check"], ["translate"], ["validate"], ["version"],
     *(["translate", kind] for kind in ("call", "reply", "stream", "error"))],
)  # fmt: skip
def test_help(args: list[str]) -> None:
    result = run(*args, "--help")
    assert (result.exit_code, result.stderr) == (0, "")
    assert f"Usage: {' '.join(['program', *args])}" in result.stdout


def test_nothing_asked_for_shows_the_help() -> None:
    result = run()
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Usage: " in result.stderr


@pytest.mark.parametrize(
    "args",
    [
        ["nonsense"],
        ["version", "--nonsense"],
        ["serve", "--workers", "0"],
        ["serve", "--log-level", "loud"],
        ["validate"],
        ["validate", "--dialect", "openai"],
        ["translate", "call"],
        ["translate", "call", "--from", "openai_chat", "--to", "nobody"],
        ["translate", "call", "--unfold", *TO_CHAT],
        ["translate", "error", "--status", "200", *TO_CHAT],
        ["translate", "call", "--losses", ".", *TO_CHAT],
        ["translate", "call", "--losses", "no/such/folder", *TO_CHAT],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_one_line_and_two(args: list[str]) -> None:
    result = run(*args, stdin=CALL)
    assert (result.exit_code, result.stdout, is_one_line(result.stderr)) == (2, "", True)


def test_a_wrong_dialect_lists_the_right_ones() -> None:
    assert "openai_chat, openai_responses" in run("validate", "--dialect", "openai").stderr


# check and serve


def test_check_shows_what_the_defaults_resolve_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-0123456789abcdef")
    result = run("check")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "configuration: built-in defaults",
        "listeners:",
        "  http://127.0.0.1:8080",
        "  admin http://127.0.0.1:8081",
        "access: open",
        "upstreams:",
        "  local: engine, ngram in this process",
        "  openai: openai, https://api.openai.com/v1, openai_chat, openai_responses, openai_completions, 1 key",
        "routes:",
        "  ngram -> local/ngram",
        "  gpt-* -> openai/*",
        "  chatgpt-* -> openai/*",
        "  o? -> openai/*",
        "  o?-* -> openai/*",
    ]


def test_check_reads_the_file(tmp_path: Path) -> None:
    (tmp_path / "f.toml").write_text(
        'admin = { listen = "" }\naccess = { mode = "callers", callers = [{name = "a", key = "k"}] }\n'
        'upstreams.u = { provider = "anthropic", keys = ["sk-1", "sk-2"] }'
    )
    result = run("check", "--config", "f.toml")
    assert result.exit_code == 0
    assert "configuration: f.toml" in result.stdout
    assert "  admin off" in result.stdout
    assert "access: callers, 1 of them" in result.stdout
    assert (
        "  u: anthropic, https://api.anthropic.com, anthropic_messages, anthropic_complete, 2 keys"
        in result.stdout
    )
    assert "sk-" not in result.stdout


@pytest.mark.parametrize("command", ["check", "serve"])
def test_every_fault_is_a_line(tmp_path: Path, command: str) -> None:
    (tmp_path / "f.toml").write_text("server.lisen = 1\nstream.frame_bytes = 0\n")
    result = run(command, "--config", "f.toml")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines() == [
        "f.toml: server.lisen: is not a key here, did you mean `listen`?",
        "f.toml: stream.frame_bytes: is 0, must be above 0",
    ]


def serving(
    monkeypatch: pytest.MonkeyPatch, result: int | BaseException
) -> list[tuple[Config, str, Config, bool]]:
    """Put a server that ends at once in place of the real one; return what it will be called with."""
    calls: list[tuple[Config, str, Config, bool]] = []

    def main(
        config: Config, *, log_level: str, reload: Callable[[], Config], take_over: bool
    ) -> int:
        calls.append((config, log_level, reload(), take_over))
        if isinstance(result, BaseException):
            raise result
        return result

    monkeypatch.setattr(serve, "main", main)
    return calls


def test_serve_takes_the_command_line_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rawproxy.toml").write_text("server.drain_seconds = 7")
    calls = serving(monkeypatch, 0)
    result = run(
        "serve",
        "--listen",
        "localhost:0",
        "--listen",
        "[::1]:0",
        "--admin",
        "off",
        "--workers",
        "3",
        "--take-over",
        "--log-level",
        "DEBUG",
    )
    assert (result.exit_code, result.output) == (0, "")
    ((config, level, again, take_over),) = calls
    assert (config.server.workers, take_over) == (3, True)
    assert (config.server.listen, config.server.drain_seconds) == (("localhost:0", "[::1]:0"), 7.0)
    assert (config.admin.listen, level, again) == ("", "debug", config)


def test_serve_hands_on_the_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = serving(monkeypatch, 5)
    assert run("serve").exit_code == 5
    assert (calls[0][0].admin.listen, calls[0][1]) == ("127.0.0.1:8081", "info")
    assert (calls[0][0].server.workers, calls[0][3]) == (1, False)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ConfigError("cannot listen on 127.0.0.1:80: Permission denied"), 2,
         "rawproxy: cannot listen on 127.0.0.1:80: Permission denied\n"),
        (KeyboardInterrupt(), 130, "\n"),
    ],
)  # fmt: skip
def test_serve_that_cannot(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, said: str
) -> None:
    serving(monkeypatch, error)
    result = run("serve")
    assert gc.isenabled()
    assert (result.exit_code, result.stderr) == (code, said)


# translate


def test_translate_call(tmp_path: Path) -> None:
    losses = tmp_path / "losses.json"
    result = run(
        "translate", "call", *TO_MESSAGES, "--model", "other", "--losses", str(losses), stdin=LOSSY
    )
    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout)["model"] == "other"
    assert json.loads(losses.read_bytes()) == [{"path": "logprobs", "why": "no such thing there"}]


def test_translate_call_without_losses(tmp_path: Path) -> None:
    losses = tmp_path / "losses.json"
    result = run("translate", "call", *TO_MESSAGES, "--losses", str(losses), "--strict", stdin=CALL)
    assert (result.exit_code, json.loads(losses.read_bytes())) == (0, [])


def test_translate_call_strictly(tmp_path: Path) -> None:
    losses = tmp_path / "losses.json"
    result = run(
        "translate", "call", *TO_MESSAGES, "--losses", str(losses), "--strict", stdin=LOSSY
    )
    assert (result.exit_code, result.stdout, result.stderr) == (3, "", "rawproxy: lost: logprobs\n")
    assert len(json.loads(losses.read_bytes())) == 1


@pytest.mark.parametrize(("options", "code"), [([], 1), (["--strict"], 3)])
def test_translate_call_that_would_corrupt_the_answer(options: list[str], code: int) -> None:
    result = run("translate", "call", *TO_MESSAGES, *options, stdin=CORRUPT)
    assert (result.exit_code, result.stdout, is_one_line(result.stderr)) == (code, "", True)
    assert result.stderr.endswith(": n\n")


@pytest.mark.parametrize(("options", "code"), [([], 1), (["--strict"], 3)])
def test_translate_call_that_the_model_cannot_take(options: list[str], code: int) -> None:
    prefilled = (
        b'{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"Hi"},'
        b'{"role":"assistant","content":"{"}]}'
    )
    between = ["--from", "anthropic_messages", "--to", "openai_chat", "--model", "gpt-5"]
    result = run("translate", "call", *between, *options, stdin=prefilled)
    assert (result.exit_code, result.stdout, is_one_line(result.stderr)) == (code, "", True)


def test_translate_reply() -> None:
    result = run("translate", "reply", *TO_MESSAGES, stdin=REPLY)
    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout)["content"] == [{"type": "text", "text": "Hello"}]


def test_translate_reply_unfolds_and_stream_folds() -> None:
    unfolded = run("translate", "reply", *TO_CHAT, "--unfold", stdin=REPLY)
    assert (unfolded.exit_code, unfolded.stdout[-14:]) == (0, "data: [DONE]\n\n")
    folded = run("translate", "stream", *TO_CHAT, "--fold", stdin=unfolded.stdout_bytes)
    assert (folded.exit_code, folded.stderr) == (0, "")
    assert json.loads(folded.stdout)["choices"][0]["message"]["content"] == "Hello"


def test_translate_stream() -> None:
    result = run("translate", "stream", *TO_MESSAGES, stdin=STREAM)
    assert (result.exit_code, result.stderr) == (0, "")
    assert (
        run("validate", "--dialect", "anthropic_messages", stdin=result.stdout_bytes).exit_code == 0
    )


@pytest.mark.parametrize("stream", [BEGUN, b"", b"data: nonsense\n\n", b"nonsense"])
def test_translate_stream_that_breaks(stream: bytes) -> None:
    result = run("translate", "stream", *TO_CHAT, stdin=stream)
    assert (result.exit_code, is_one_line(result.stderr)) == (1, True)
    last = result.stdout.split("\n\n")[-2]
    assert "error" in json.loads(last.removeprefix("data: "))


@pytest.mark.parametrize(
    ("options", "kind"), [([], "rate_limit_error"), (["--status", "429"], "rate_limit_error")]
)
def test_translate_error(tmp_path: Path, options: list[str], kind: str) -> None:
    losses = tmp_path / "losses.json"
    result = run("translate", "error", *TO_MESSAGES, *options, "--losses", str(losses), stdin=ERROR)
    assert (result.exit_code, result.stderr) == (0, "")
    error = json.loads(result.stdout)["error"]
    assert (error["type"], error["message"]) == (kind, "Slow down.")
    assert json.loads(losses.read_bytes()) == []


@pytest.mark.parametrize("kind", ["call", "reply", "stream", "error"])
def test_input_that_is_not_of_the_dialect_is_one_line_and_one(kind: str) -> None:
    result = run("translate", kind, *TO_CHAT, stdin=b"not of any dialect")
    assert (result.exit_code, is_one_line(result.stderr)) == (1, True)
    assert "not of any" not in result.stderr


# validate


def test_validate_a_stream_that_keeps_the_rules() -> None:
    result = run("validate", "--dialect", "openai_chat", stdin=STREAM)
    assert (result.exit_code, result.output) == (0, "")


def test_validate_prints_each_violation() -> None:
    result = run("validate", "--dialect", "openai_chat", stdin=b"data: {\n\n" + BEGUN)
    assert (result.exit_code, result.stderr) == (1, "")
    lines = result.stdout.splitlines()
    assert [line.split(": ")[:2] for line in lines] == [["frame 1", "json"], ["frame 3", "end"]]
    assert all(line.count(": ") >= 2 for line in lines)


@pytest.mark.slow
def test_the_module_is_the_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "rawproxy", "version"], capture_output=True, check=True
    )
    assert done.stdout.decode().startswith(f"rawproxy {rawproxy.__version__}\n")


@pytest.mark.slow
def test_a_reader_that_left_is_no_error() -> None:
    """`rawproxy translate stream ... | head -1`."""
    with subprocess.Popen(
        [sys.executable, "-m", "rawproxy", "translate", "stream", *TO_CHAT],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stdin.write(STREAM)
        process.stdin.close()
        assert process.stderr.read() == b""
