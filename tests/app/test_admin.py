"""The admin pages: what they say, and to whom."""

import pytest

from rawproxy.app.serve import Proxy, open_proxy
from tests.net.fakes import Client, Got, ask
from tests.net.world import CHAT, PATH, call

CONFIG = {
    "server": {"listen": ["127.0.0.1:0"]},
    "admin": {"listen": "127.0.0.1:0"},
    "upstreams": {"local": {"provider": "engine", "tokens_per_second": 1e6}},
}


async def get(proxy: Proxy, path: str, method: str = "GET", **fields: str) -> Got:
    link = await Client.connect(proxy.admin_url)
    await link.send(method, path, fields=fields)
    got = await link.response()
    await link.aclose()
    return got


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [("/healthz", 200, b"ok\n"), ("/readyz", 200, b"ready\n"), ("/nowhere", 404, b"there is")],
)
async def test_pages(path: str, status: int, body: bytes) -> None:
    async with open_proxy(CONFIG) as proxy:
        got = await get(proxy, path)
        assert (got.status, got.body[: len(body)]) == (status, body)


async def test_metrics_count_exchanges_and_tokens() -> None:
    async with open_proxy(CONFIG) as proxy:
        body = call(CHAT, stream=False, model="local/ngram", max_tokens=5)
        assert (await ask(proxy.urls[0], PATH[CHAT], body)).status == 200
        text = (await get(proxy, "/metrics")).body.decode()
        assert (
            'rawproxy_exchanges_total{client_dialect="openai_chat",outcome="ok",upstream="local"} 1.0'
            in text
        )
        assert 'rawproxy_tokens_total{kind="output",upstream="local"} 5.0' in text
        assert 'rawproxy_attempts_total{ended="ok",upstream="local"} 1.0' in text
        assert "rawproxy_running 0.0" in text


async def test_it_is_read_only_and_not_for_pages() -> None:
    async with open_proxy(CONFIG) as proxy:
        assert (await get(proxy, "/metrics", "POST")).status == 405
        assert (await get(proxy, "/metrics", host="evil.example")).status == 403
        assert (await get(proxy, "/metrics", origin="https://evil.example")).status == 403


async def test_it_is_not_ready_while_it_drains() -> None:
    async with open_proxy(CONFIG) as proxy:
        link = await Client.connect(proxy.admin_url)
        await link.send("GET", "/readyz")
        assert (await link.response()).status == 200
        await link.aclose()
        proxy.draining = True
        got = await get(proxy, "/readyz")  # a new connection, while it drains
        assert (got.status, got.body) == (503, b"draining\n")
