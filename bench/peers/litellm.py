"""LiteLLM's proxy, from PyPI: one worker, a master key that is checked, no database.

Each model of the mock is one of a `*` route; an Anthropic client asks a vLLM, as the route to
OpenAI would be translated to Responses instead.
"""

import json
from dataclasses import replace
from pathlib import Path

from bench.gateways import Gateway, Launch
from bench.peers.install import python, version_of
from bench.processes import free_port
from bench.rig import CALLER_KEY, Load

VERSION = "1.106.2"

MOST_STREAMS = 200
"""That have to end: it would still be busy with more when the next run begins."""


def config(upstream: int) -> dict[str, object]:
    """Return its configuration."""

    def route(name: str, model: str) -> dict[str, object]:
        base = f"http://127.0.0.1:{upstream}/v1"
        return {
            "model_name": name,
            "litellm_params": {"model": model, "api_base": base, "api_key": "x"},
        }

    return {
        "model_list": [route("mock-*", "openai/mock-*"), route("vllm/*", "hosted_vllm/*")],
        "litellm_settings": {
            "drop_params": True, "telemetry": False, "num_retries": 0, "request_timeout": 600,
        },
        "general_settings": {"disable_spend_logs": True, "master_key": CALLER_KEY},
    }  # fmt: skip


def adapt(load: Load, _port: int) -> Load | None:
    """Ask it as its routes are named; a chat client never asks Anthropic's."""
    too_many = load.connections > MOST_STREAMS and load.expect >= 0
    if too_many or load.model.startswith("claude-"):
        return None
    return replace(load, model=f"vllm/{load.model}") if load.translated else load


def find() -> Gateway:
    """Return it, installed."""
    environment = python("litellm", VERSION, "litellm[proxy]")

    def launch(folder: Path, upstream: int) -> Launch:
        port = free_port()
        file = folder / "litellm.yaml"  # JSON is YAML
        file.write_text(json.dumps(config(upstream)))
        words = ["--config", str(file), "--host", "127.0.0.1", "--port", str(port)]
        # Nothing is asked of the internet.
        local = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "NO_DOCS": "True"}
        return Launch(
            [str(environment / "bin/litellm"), *words, "--telemetry", "False"], port, local
        )

    return Gateway(
        "LiteLLM",
        launch,
        adapt,
        version=version_of(environment / "bin/pip", "show", "litellm"),
        start_seconds=120,
        most_streams=1000,
        event_rate=250,
    )
