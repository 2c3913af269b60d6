"""HAProxy, Debian's: one thread, no log, connections to the upstream kept, clients that leave noticed."""

from pathlib import Path

from bench.gateways import Gateway, Launch, passing_only
from bench.peers.install import debian, version_of
from bench.processes import free_port

VERSION = "2.6.12-*"
LIBRARIES = ("liblua5.3-0", "libopentracing-c-wrapper0", "libopentracing1")

CONFIG = """\
global
    nbthread 1
    maxconn 9500

defaults
    mode http
    timeout connect 5s
    timeout client 600s
    timeout server 600s
    timeout http-keep-alive 600s
    option http-no-delay
    option abortonclose
    http-reuse always

frontend clients
    bind 127.0.0.1:{port} backlog 4096
    default_backend mock

backend mock
    server mock 127.0.0.1:{upstream} pool-max-conn -1
"""


def find() -> Gateway:
    """Return it, installed."""
    folder = debian("haproxy", VERSION, *LIBRARIES)
    # Its libraries are beside it, not where the linker looks.
    [libraries] = {path.parent for path in folder.glob("usr/lib/*/liblua5.3.so.0")}
    linker = {"LD_LIBRARY_PATH": str(libraries)}
    program = str(folder / "usr/sbin/haproxy")

    def launch(folder: Path, upstream: int) -> Launch:
        port = free_port()
        config = folder / "haproxy.cfg"
        config.write_text(CONFIG.format(port=port, upstream=upstream))
        return Launch([program, "-db", "-f", str(config)], port, linker)

    version = version_of("env", f"LD_LIBRARY_PATH={libraries}", program, "-v")
    return Gateway("HAProxy", launch, passing_only, version=version, exact=True)
