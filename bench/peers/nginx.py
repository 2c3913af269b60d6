"""nginx, Debian's: one worker, no access log, responses passed on as they come."""

import os
from pathlib import Path

from bench.gateways import Gateway, Launch, passing_only
from bench.peers.install import debian, version_of
from bench.processes import free_port

VERSION = "1.22.1-*"

CONFIG = """\
daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid nginx.pid;
error_log nginx.err crit;
{user}
events {{
    worker_connections 19500;
}}

http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    client_body_buffer_size 64k;
    keepalive_timeout 600s;
    keepalive_requests 1000000000;

    upstream mock {{
        server 127.0.0.1:{upstream};
        keepalive 1024;
        keepalive_requests 1000000000;
    }}

    server {{
        listen 127.0.0.1:{port} backlog=4096{listen};
        {server}
        location / {{
            proxy_pass {scheme}://mock;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
            proxy_read_timeout 600s;
            {proxy}
        }}
    }}
}}
"""


def prepare(
    program: str | Path,
    folder: Path,
    upstream: int,
    *,
    scheme: str = "http",
    proxy: str = "",
    listen: str = "",
    server: str = "",
) -> Launch:
    """Return what starts it, set up in `folder` for streams.

    Args:
        program: nginx.
        folder: is written to.
        upstream: the mock's port.
        scheme: of the mock.
        proxy: more directives of its location.
        listen: more words of its listener; `server`: more directives of it.
    """
    port = free_port()
    text = CONFIG.format(
        port=port, upstream=upstream, scheme=scheme, proxy=proxy, listen=listen, server=server,
        # Its workers would be another user, who may not write here.
        user="user root;" if os.geteuid() == 0 else "",
    )  # fmt: skip
    (folder / "nginx.conf").write_text(text)
    return Launch([str(program), "-p", str(folder), "-c", "nginx.conf", "-e", "nginx.err"], port)


def find() -> Gateway:
    """Return it, installed."""
    program = debian("nginx", VERSION) / "usr/sbin/nginx"

    def launch(folder: Path, upstream: int) -> Launch:
        return prepare(program, folder, upstream)

    return Gateway("nginx", launch, passing_only, version=version_of(program, "-v"), exact=True)
