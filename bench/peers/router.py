"""claude-code-router, from npm: Anthropic clients on a chat upstream, and nothing else."""

import json
from dataclasses import replace
from pathlib import Path

from bench.gateways import Gateway, Launch
from bench.peers.install import node, version_of
from bench.processes import free_port
from bench.rig import Load

VERSION = "2.0.0"
PACKAGE = "@musistudio/claude-code-router"
MANIFEST = {"dependencies": {PACKAGE: VERSION}}


def config(port: int, upstream: int) -> dict[str, object]:
    """Return its configuration; a call names provider and model, so no model is listed."""
    provider = {
        "name": "mock",
        "api_base_url": f"http://127.0.0.1:{upstream}/v1/chat/completions",
        "api_key": "x",
        "models": ["mock"],
    }
    return {
        "HOST": "127.0.0.1", "PORT": port, "LOG": False, "NON_INTERACTIVE_MODE": True,
        "API_TIMEOUT_MS": 600_000, "Providers": [provider], "Router": {"default": "mock,mock"},
    }  # fmt: skip


def adapt(load: Load, _port: int) -> Load | None:
    """Name the provider in the model."""
    if load.kind != "messages" or not load.translated:
        return None
    return replace(load, model=f"mock,{load.model}")


def find() -> Gateway:
    """Return it, installed."""
    folder = node("router", VERSION, PACKAGE, json.dumps(MANIFEST))

    def launch(home: Path, upstream: int) -> Launch:
        port = free_port()
        file = home / ".claude-code-router" / "config.json"  # it looks nowhere else
        file.parent.mkdir()
        file.write_text(json.dumps(config(port, upstream)))
        return Launch(["node", str(folder / "dist/cli.js"), "start"], port, {"HOME": str(home)})

    version = f"{VERSION} (Node {version_of('node', '--version')})"
    return Gateway(
        "claude-code-router", launch, adapt, version=version, start_seconds=60,
        most_streams=1000, event_rate=1000,
    )  # fmt: skip
