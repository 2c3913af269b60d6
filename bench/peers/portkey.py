"""Portkey's gateway, from npm: the upstream is told by header fields of each call."""

import json
from dataclasses import replace
from pathlib import Path

from bench.gateways import Gateway, Launch
from bench.peers.install import node, version_of
from bench.processes import free_port
from bench.rig import Load

VERSION = "1.15.2"
PACKAGE = "@portkey-ai/gateway"

# With later ones of the server that it runs in, each stream is answered with 500.
MANIFEST = {"dependencies": {PACKAGE: VERSION}, "overrides": {"@hono/node-server": "1.8.2"}}


def adapt(load: Load, port: int) -> Load | None:
    """Tell it the upstream; it has no endpoint of Anthropic's."""
    if load.kind != "chat" or load.translated:
        return None
    upstream = f"x-portkey-custom-host: http://127.0.0.1:{port}/v1"
    told = ("--header", "x-portkey-provider: openai", "--header", upstream)
    return replace(load, options=(*load.options, *told))


def find() -> Gateway:
    """Return it, installed."""
    folder = node("portkey", VERSION, PACKAGE, json.dumps(MANIFEST))

    def launch(_folder: Path, _upstream: int) -> Launch:
        port = free_port()
        server = str(folder / "build/start-server.js")
        return Launch(["node", server, f"--port={port}", "--headless"], port)

    version = f"{VERSION} (Node {version_of('node', '--version')})"
    return Gateway(
        "Portkey", launch, adapt, version=version, start_seconds=60, most_streams=1000,
        event_rate=1000,
    )  # fmt: skip
