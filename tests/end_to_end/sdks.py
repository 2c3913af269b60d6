"""The official SDKs, each in an environment of its own, and how to run one.

None of them tells by itself that a stream ended before its stop: it has to be told.
"""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.conftest import ROOT

HERE = Path(__file__).parent
PYTHONS = {
    "new": Path(sys.executable),
    "legacy": ROOT / ".venvs" / "legacy" / "bin" / "python",
    "ancient": ROOT / ".venvs" / "ancient" / "bin" / "python",
}


@dataclass(frozen=True)
class Sdk:
    """One SDK, asking one dialect.

    Attributes:
        script: `client_<script>.py` drives it.
        dialect: what it speaks.
        model: the key of `MODELS` or `HOSTED` that speaks to it; "" for the dialect's.
        pythons: the environments that have it.
        modes: what the script can be told; `accumulate` is a stream that the SDK puts together.
        lacks: what the dialect has and this SDK, or this host of the dialect, does not.
    """

    script: str
    dialect: str
    model: str = ""
    pythons: tuple[str, ...] = ("new",)
    modes: tuple[str, ...] = ("stream", "blocking")
    lacks: frozenset[str] = frozenset()

    @property
    def upstream(self) -> str:
        """The name of the fake that speaks to it directly."""
        return self.model or self.dialect


_BOTH = ("new", "legacy")
_THREE = ("stream", "accumulate", "blocking")

SDKS = {
    one.script: one
    for one in (
        Sdk("openai_normal", "openai_chat", pythons=_BOTH, modes=_THREE),
        Sdk("openai_responses", "openai_responses", pythons=_BOTH, modes=_THREE),
        Sdk("openai_completions", "openai_completions", pythons=_BOTH),
        Sdk("anthropic_normal", "anthropic_messages", pythons=_BOTH, modes=_THREE),
        Sdk(
            "anthropic_bedrock", "anthropic_messages", "bedrock_invoke", modes=_THREE,
            lacks=frozenset({"count"}),
        ),
        Sdk(
            "anthropic_vertex", "anthropic_messages", "vertex", modes=_THREE,
            lacks=frozenset({"count"}),
        ),
        Sdk("anthropic_complete", "anthropic_complete", pythons=("legacy", "ancient")),
        Sdk("google", "gemini"),
        Sdk("boto3", "bedrock_converse"),
        Sdk("ollama", "ollama_chat"),
    )
}  # fmt: skip


async def drive(sdk: Sdk, python: str, url: str, mode: str, *scenarios: str) -> dict[str, Any]:
    """Run scenarios in a process of their own; return what the SDK saw: see normal.py."""
    (found,) = await _drive(sdk, python, url, mode, *scenarios)
    return found


async def drive_all(
    sdk: Sdk, python: str, mode: str, jobs: list[tuple[str, list[str]]]
) -> list[dict[str, Any]]:
    """Run scenarios at each of several URLs in one process; return what the SDK saw at each."""
    first, *others = [f"{url}={','.join(scenarios)}" for url, scenarios in jobs]
    return await _drive(sdk, python, first, mode, *others)


async def _drive(sdk: Sdk, python: str, *arguments: str) -> list[dict[str, Any]]:
    program = PYTHONS[python]
    if not program.exists():
        pytest.fail(f"{program} is not set up: `make test` does it")
    command = [str(program), str(HERE / f"client_{sdk.script}.py"), *arguments]
    environment = {key: value for key, value in os.environ.items() if "PROXY" not in key.upper()}
    environment |= {"NO_PROXY": "*", "AWS_EC2_METADATA_DISABLED": "true"}
    done = await trio.run_process(
        command, capture_stdout=True, capture_stderr=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.splitlines()]
