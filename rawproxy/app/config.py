"""The configuration: found, read, checked, completed.

Layer: app. Reads the configuration file, and what its secrets point to.

    config = load(None, os.environ)                     # the file, or the built-in defaults
    config = from_mapping({"upstreams": {...}})         # a dict of the same shape

All faults are told at once, in one ConfigError with a line for each.
"""

import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from msgspec.structs import replace

from rawproxy.app.address import Address, Tcp, Unix, parse_address
from rawproxy.app.checks import check, is_own
from rawproxy.app.sections import (
    AccessConfig,
    AdminConfig,
    Config,
    ServerConfig,
    UpstreamConfig,
)
from rawproxy.app.shape import Faults, Reader
from rawproxy.errors import ConfigError
from rawproxy.gateway.keys import Secret
from rawproxy.gateway.providers import PROVIDERS
from rawproxy.gateway.route import Route

__all__ = [
    "AccessConfig", "Address", "AdminConfig", "Config", "ServerConfig", "Tcp", "Unix",
    "UpstreamConfig", "checked", "from_mapping", "load", "locate", "parse_address",
]  # fmt: skip

FILE = "rawproxy.toml"
"""Looked for in the working directory."""

VARIABLE = "RAWPROXY_CONFIG"
"""Names the configuration file where the command line does not."""

BUILT_IN = "built-in defaults"
"""What messages call the configuration when there is no file."""

_PRESETS = {
    # upstream (and provider) -> the globs of the models that it is asked for
    "openai": ("gpt-*", "chatgpt-*", "o?", "o?-*"),
    "anthropic": ("claude-*",),
    "gemini": ("gemini-*",),
}

_AWS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_AWS_REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")
_BEDROCK_MODELS = ("*anthropic.*", "*amazon.nova*", "*meta.llama*", "*mistral.*", "*deepseek.*")
OLLAMA_PORT = 11434


def locate(path: str | None, environ: Mapping[str, str]) -> str | None:
    """Return which file holds the configuration: `path`, $RAWPROXY_CONFIG, ./rawproxy.toml, or none."""
    return path or environ.get(VARIABLE) or (FILE if Path(FILE).is_file() else None)


def load(
    path: str | None,
    environ: Mapping[str, str],
    *,
    listen: Sequence[str] = (),
    admin: str | None = None,
    workers: int | None = None,
) -> Config:
    """Return the configuration in force.

    Args:
        path: the file; None to look for one (`locate`), and to use the built-in defaults without.
        environ: the environment variables.
        listen: replaces `server.listen`, unless empty.
        admin: replaces `admin.listen`, unless None.
        workers: replaces `server.workers`, unless None.

    Raises:
        ConfigError: it cannot be read, or has faults.
    """
    found = locate(path, environ)
    data = {} if found is None else _parse(found)
    if listen:
        data["server"] = _with(data.get("server", {}), "listen", list(listen))
    if workers is not None:
        data["server"] = _with(data.get("server", {}), "workers", workers)
    if admin is not None:
        data["admin"] = _with(data.get("admin", {}), "listen", admin)
    return from_mapping(data, found or BUILT_IN, environ=environ)


def from_mapping(
    data: Mapping[str, object],
    name: str = "config",
    *,
    environ: Mapping[str, str] | None = None,
) -> Config:
    """Return the configuration that `data`, of the same shape as the TOML file, says.

    Without `upstreams` it has the built-in ones, and without `routes` then their routes.

    Args:
        data: what the file would hold.
        name: what messages call it.
        environ: the environment variables; None for those of the process.

    Raises:
        ConfigError: it has faults.
    """
    environ = os.environ if environ is None else environ
    faults = Faults()
    config = Reader(faults, environ).struct(data, Config)
    if "upstreams" not in data:
        config = _with_presets(config, environ)
    return _completed(config, name, faults)


def checked(config: Config, name: str = "config") -> Config:
    """Return a configuration that a program has put together itself, checked and completed.

    Raises:
        ConfigError: it has faults.
    """
    return _completed(config, name, Faults())


def _completed(config: Config, name: str, faults: Faults) -> Config:
    check(config, faults)
    if faults:
        raise ConfigError("\n".join(faults.lines(name)))
    upstreams = {name: _with_defaults(given) for name, given in config.upstreams.items()}
    return replace(config, upstreams=upstreams)


def _with_defaults(given: UpstreamConfig) -> UpstreamConfig:
    provider = PROVIDERS[given.provider]
    return replace(
        given,
        base_url=given.base_url or provider.url(given.region),
        dialects=given.dialects or provider.usual,
    )


def _parse(path: str) -> dict[str, object]:
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8 text, must be TOML") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: is not TOML: {error}") from error
    except RecursionError:
        raise ConfigError(f"{path}: is nested too deep") from None


def _with(section: object, key: str, value: object) -> object:
    # A section that is no table stays as it is: the reader tells that.
    return {**section, key: value} if isinstance(section, dict) else section


def _with_presets(config: Config, environ: Mapping[str, str]) -> Config:
    """Return `config` with the embedded engine, and each provider whose key is in the environment.

    The variables are those that the providers' own SDKs read.
    """
    upstreams = {"local": UpstreamConfig("engine")}
    routes = [Route("ngram", ("local/ngram",))]
    for name, globs in _PRESETS.items():
        key = environ.get(f"{name.upper()}_API_KEY")
        if not key:
            continue
        base_url = environ.get(f"{name.upper()}_BASE_URL", "")
        # Set for the clients of this proxy, on the same machine: not where *it* has to call.
        if is_own(base_url, config.server.listen):
            base_url = ""
        upstreams[name] = UpstreamConfig(name, base_url, (Secret(key),))
        routes += [Route(glob, (f"{name}/*",)) for glob in globs]
    if (bedrock := _bedrock(environ)) is not None:
        upstreams["bedrock"] = bedrock
        routes += [Route(glob, ("bedrock/*",)) for glob in _BEDROCK_MODELS]
    if host := environ.get("OLLAMA_HOST"):
        url = host if "//" in host else f"http://{host}"
        if urlsplit(url).port is None:
            url = f"{url.rstrip('/')}:{OLLAMA_PORT}"
        if not is_own(url, config.server.listen):
            upstreams["ollama"] = UpstreamConfig("ollama", url)
    return replace(config, upstreams=upstreams, routes=config.routes or tuple(routes))


def _bedrock(environ: Mapping[str, str]) -> UpstreamConfig | None:
    """Return Bedrock as the AWS SDKs' variables have it; None where they do not."""
    region = next((environ[name] for name in _AWS_REGIONS if environ.get(name)), "")
    bearer = environ.get("AWS_BEARER_TOKEN_BEDROCK")
    key = bearer or ":".join(environ[name] for name in _AWS if environ.get(name))
    if not region or not (bearer or key.count(":") > 0):
        return None
    return UpstreamConfig("bedrock", keys=(Secret(key),), region=region)
