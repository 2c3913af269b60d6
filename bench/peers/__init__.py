"""Other gateways, each in a module of its own: where it is from, its configuration, what it can do.

A peer is installed when it is first asked for, into a folder of its own under `.venvs/` that git
ignores; nothing is started but by the bench, and nothing is left running.
"""

import sys

from bench.gateways import Gateway
from bench.peers import envoy, haproxy, litellm, nginx, portkey, router
from bench.peers.install import InstallError

__all__ = ["BASIC", "EVERY", "find_peers"]

_ALL = {
    "nginx": nginx.find,
    "haproxy": haproxy.find,
    "envoy": envoy.find,
    "portkey": portkey.find,
    "litellm": litellm.find,
    "claude-code-router": router.find,
}

BASIC = ("nginx", "haproxy")
"""What `make bench` measures beside us."""

EVERY = tuple(_ALL)
"""What `make bench-peers` measures."""


def find_peers(names: tuple[str, ...]) -> tuple[list[Gateway], dict[str, str]]:
    """Return those of `names` that are, or can be, installed, and why each of the others cannot."""
    found: list[Gateway] = []
    missing: dict[str, str] = {}
    for name in names:
        try:
            found.append(_ALL[name]())
        except InstallError as error:
            missing[name] = str(error)
            print(f"bench: without {name}: {error}", file=sys.stderr)
    return found, missing
