"""Certificates in files, and clients over TLS."""

import itertools
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import trio
import trustme

from tests.net.fakes import Client, FakeUpstream, Script, read_request


def files(ca: trustme.CA, folder: Path, *names: str) -> dict[str, str]:
    """A certificate for `names` and its key, as `[server.tls]` has them."""
    issued = ca.issue_cert(*names)
    certificate, key = folder / f"{names[0]}.pem".replace("*", "_"), folder / f"{names[0]}.key"
    certificate.write_bytes(b"".join(one.bytes() for one in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    return {"certificate": str(certificate), "key": str(key)}


def authority(ca: trustme.CA, folder: Path, name: str = "ca.pem") -> str:
    """A file of the authority."""
    path = folder / name
    path.write_bytes(ca.cert_pem.bytes())
    return str(path)


def client_context(ca: trustme.CA, own: trustme.LeafCert | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=ca.cert_pem.bytes().decode())
    if own is not None:
        own.configure_cert(context)
    return context


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


async def dial(
    url: str, context: ssl.SSLContext, name: str = "localhost", before: bytes = b""
) -> trio.SSLStream[trio.SocketStream]:
    """Connect, and shake hands; `before` goes first, as it is."""
    plain = await trio.open_tcp_stream("127.0.0.1", port_of(url))
    if before:
        await plain.send_all(before)
    stream = trio.SSLStream(plain, context, server_hostname=name, https_compatible=True)
    try:
        await stream.do_handshake()
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return stream


async def client(url: str, context: ssl.SSLContext, name: str = "localhost", **more: Any) -> Client:
    """A bare HTTP client over TLS."""
    stream: Any = await dial(url, context, name, **more)
    return Client(stream)


def names_shown(stream: trio.SSLStream[trio.SocketStream]) -> list[str]:
    """The names of the certificate that the server showed."""
    return [value for _, value in stream.getpeercert()["subjectAltName"]]


def context_for(ca: trustme.CA, name: str, expires: datetime | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert(name, not_after=expires).configure_cert(context)
    return context


@asynccontextmanager
async def tls_upstream(
    script: Script,
    contexts: ssl.SSLContext | list[ssl.SSLContext],
    greet: Callable[[trio.SocketStream], bool] = lambda _: True,
) -> AsyncIterator[tuple[str, FakeUpstream]]:
    """An upstream behind TLS; it goes round `contexts`, and shakes hands where `greet` says so."""
    fake = FakeUpstream(script)
    turns = itertools.cycle(contexts if isinstance(contexts, list) else [contexts])

    async def serve(plain: trio.SocketStream) -> None:
        if not greet(plain):
            await plain.aclose()
            return
        stream = trio.SSLStream(plain, next(turns), server_side=True, https_compatible=True)
        try:
            while (seen := await read_request(stream)) is not None:  # type: ignore[arg-type]
                fake.seen.append(seen)
                await script(seen, stream)  # type: ignore[arg-type]
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            await trio.aclose_forcefully(stream)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, serve, 0)
        yield f"https://localhost:{listeners[0].socket.getsockname()[1]}/v1", fake
        nursery.cancel_scope.cancel()
