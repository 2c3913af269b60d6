"""The command line: `rawproxy serve`, `check`, `translate`, `validate`, `version`.

Layer: app. Reads arguments and standard input, writes standard output. Everything heavy is imported
inside the command that needs it, so that `rawproxy version` is quick.

Exit codes: 0 done, 1 bad input, 2 bad configuration or usage, 3 strict losses. An error is one line on
standard error, `rawproxy: ...`; each fault of a configuration is a line of its own, `FILE: key.path: ...`.
"""

import functools
import gc
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

import rawproxy
from rawproxy.errors import ConfigError, RawproxyError, Untranslatable

if TYPE_CHECKING:
    from rawproxy.app.config import Config
    from rawproxy.dialects.losses import Loss

__all__ = ["main", "program"]

BAD_INPUT = 1
BAD_USAGE = 2
STRICT_LOSSES = 3
INTERRUPTED = 130
"""What shells expect of a program that Ctrl-C ended: 128 + SIGINT."""

_DEPENDENCIES = ("certifi", "click", "h11", "msgspec", "prometheus-client", "trio")

Told = tuple[bytes, "list[Loss]"]


class _Failed(Exception):
    """Ends the program with a line on standard error and an exit code."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class _Program(click.Group):
    """A group that tells errors in one line, and exits with the codes of this program."""

    def main(self, *args: object, **extra: object) -> NoReturn:
        extra["standalone_mode"] = False
        try:
            code = super().main(*args, **extra)  # type: ignore[call-overload]
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            code = BAD_USAGE
        except click.ClickException as error:
            _complain(error.format_message())
            code = error.exit_code
        except _Failed as error:
            _complain(str(error))
            code = error.code
        except click.Abort:
            code = INTERRUPTED
        except ConfigError as error:
            click.echo(str(error), err=True)
            code = BAD_USAGE
        except RawproxyError as error:
            _complain(str(error))
            code = BAD_INPUT
        sys.exit(code or 0)


class _DialectName(click.ParamType[str]):
    name = "dialect"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from rawproxy.dialects.named import named

        try:
            return named(value).NAME
        except ValueError as error:
            self.fail(str(error), param, ctx)


_DIALECT = _DialectName()
_CONFIG = click.option(
    "--config", "-c", metavar="FILE",
    help="Configuration file. Default: $RAWPROXY_CONFIG, ./rawproxy.toml, or the built-in defaults.",
)  # fmt: skip


@click.group(cls=_Program, context_settings={"help_option_names": ["--help", "-h"]})
@click.version_option(rawproxy.__version__, prog_name="rawproxy", message="%(prog)s %(version)s")
def program() -> None:
    """A streaming proxy for LLM APIs: any client, any model, in the client's own API."""


@program.command()
@_CONFIG
@click.option("--listen", multiple=True, metavar="ADDR", help="Replaces server.listen. Repeatable.")
@click.option("--admin", metavar="ADDR|off", help="Replaces admin.listen.")
@click.option(
    "--workers",
    type=click.IntRange(1),
    metavar="N",
    help="Replaces server.workers: how many processes serve.",
)
@click.option(
    "--take-over",
    is_flag=True,
    help="Listen where another rawproxy of this user listens; end that one then with SIGTERM.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"], case_sensitive=False),
    default="info", show_default=True, help="What is logged on standard error.",
)  # fmt: skip
def serve(
    config: str | None, listen: tuple[str, ...], admin: str | None, workers: int | None,
    take_over: bool, log_level: str,
) -> int:  # fmt: skip
    """Serve until SIGTERM or SIGINT, which drain; SIGHUP reads the configuration again."""
    gc.disable()  # until everything is there (`serve.settle`): what is imported stays
    try:
        return _serve(config, listen, admin, workers, log_level, take_over=take_over)
    finally:
        gc.enable()


def _serve(
    config: str | None, listen: tuple[str, ...], admin: str | None, workers: int | None,
    log_level: str, *, take_over: bool,
) -> int:  # fmt: skip
    from rawproxy.app.config import load

    read = functools.partial(
        load, config, os.environ,
        listen=listen, admin="" if admin == "off" else admin, workers=workers,
    )  # fmt: skip
    given = read()

    from rawproxy.app.serve import main as serving

    try:
        return serving(given, log_level=log_level, reload=read, take_over=take_over)
    except ConfigError as error:
        raise _Failed(str(error), BAD_USAGE) from error


@program.command()
@_CONFIG
def check(config: str | None) -> None:
    """Validate the configuration, and print what it resolves to."""
    from rawproxy.app.config import BUILT_IN, load, locate

    given = load(config, os.environ)
    click.echo(f"configuration: {locate(config, os.environ) or BUILT_IN}")
    for line in _summary(given):
        click.echo(line)


def _summary(config: "Config") -> Iterator[str]:
    from rawproxy.app.config import parse_address

    yield "listeners:"
    for text in config.server.listen:
        url = parse_address(text).url
        yield f"  {url if config.server.tls is None else url.replace('http://', 'https://', 1)}"
    yield f"  admin {parse_address(config.admin.listen).url if config.admin.listen else 'off'}"
    callers = f", {len(config.access.callers)} of them" if config.access.callers else ""
    yield f"access: {config.access.mode}{callers}"
    yield "upstreams:"
    for name, upstream in config.upstreams.items():
        if upstream.provider == "engine":
            yield f"  {name}: engine, {upstream.engine} in this process"
        else:
            keys = "1 key" if len(upstream.keys) == 1 else f"{len(upstream.keys)} keys"
            dialects = ", ".join(upstream.dialects)
            yield f"  {name}: {upstream.provider}, {upstream.base_url}, {dialects}, {keys}"
    yield "routes:"
    for route in config.routes:
        yield f"  {route.model} -> {', '.join(route.to)}"


@program.group()
def translate() -> None:
    """Translate standard input from one dialect to another, without any network."""


def _translation(*, refuses: bool = False) -> Callable[[Callable[..., Told]], Callable[..., None]]:
    """Make a command of a function that returns output and losses.

    Args:
        refuses: whether losses that would corrupt the answer are an error, as in the proxy.
    """

    def decorate(run: Callable[..., Told]) -> Callable[..., None]:
        @click.option("--from", "source", type=_DIALECT, required=True, help="The input's dialect.")
        @click.option("--to", "target", type=_DIALECT, required=True, help="The output's dialect.")
        @click.option(
            "--model",
            metavar="M",
            help="The model to ask; in replies, its name where the input has none.",
        )
        @click.option(
            "--losses",
            metavar="FILE",
            type=click.Path(dir_okay=False, writable=True),
            help="Where to write, as a JSON array, what was lost.",
        )
        @click.option("--strict", is_flag=True, help="Exit with 3 when anything is lost.")
        @functools.wraps(run)
        def command(*, losses: str | None, strict: bool, **options: object) -> None:
            try:
                output, lost = run(**options)
            except Untranslatable as error:
                if not strict:
                    raise
                raise _Failed(str(error), STRICT_LOSSES) from error
            _tell(lost, losses, strict=strict, refuses=refuses)
            _put(output)

        return command

    return decorate


def _tell(lost: "list[Loss]", path: str | None, *, strict: bool, refuses: bool) -> None:
    """Write the losses to the file `path`, and end here when they are not to be borne."""
    import msgspec

    from rawproxy.dialects.losses import refuse, told

    lost = told(lost)
    if path is not None:
        try:
            Path(path).write_bytes(msgspec.json.format(msgspec.json.encode(lost)) + b"\n")
        except OSError as error:
            raise _Failed(f"{path}: cannot be written: {error.strerror}", BAD_USAGE) from error
    if strict and lost:
        fields = dict.fromkeys(loss.field for loss in lost)
        raise _Failed(f"lost: {', '.join(fields)}", STRICT_LOSSES)
    if refuses:
        refuse(lost)


@translate.command()
@click.option(
    "--variant", default="", help="The input's form, where its dialect has several, e.g. generate."
)
@_translation(refuses=True)
def call(source: str, target: str, model: str | None, variant: str) -> Told:
    """Translate a request body."""
    from rawproxy.dialects import translate

    written = translate.call(_read(), source, target, model=model, variant=variant)
    return written.body, written.losses


@translate.command()
@click.option("--unfold", is_flag=True, help="Write a stream.")
@_translation()
def reply(source: str, target: str, model: str | None, unfold: bool) -> Told:
    """Translate the body of a reply."""
    from rawproxy.dialects import translate

    carry = translate.unfold if unfold else translate.reply
    return carry(_read(), source, target, model=model or "")


@translate.command()
@click.option("--fold", is_flag=True, help="Write one body, without streaming.")
@_translation()
def stream(source: str, target: str, model: str | None, fold: bool) -> Told:
    """Translate a reply stream, as it comes in."""
    from rawproxy.dialects import translate

    if fold:
        return translate.fold(_read(), source, target, model=model or "")
    translation = translate.Stream(source, target, model=model or "")
    for data in _reads():
        _put(translation.feed(data))
    _put(translation.close())
    if translation.broken is not None:
        raise translation.broken
    return b"", translation.losses


@translate.command()
@click.option(
    "--status", type=click.IntRange(400, 599), help="Its HTTP status; else told by the body."
)
@_translation()
def error(source: str, target: str, model: str | None, status: int | None) -> Told:  # noqa: ARG001 (--model has no meaning here, and is taken by every kind)
    """Translate the body of an error response."""
    from rawproxy.dialects import translate

    return translate.error(_read(), source, target, status=status)[1], []


@program.command()
@click.option("--dialect", type=_DIALECT, required=True, help="What the stream should be.")
def validate(dialect: str) -> int:
    """Check the stream on standard input against its dialect's grammar."""
    from rawproxy.dialects.grammar import validate

    code = 0
    for violation in validate(dialect, _reads()):
        click.echo(str(violation))
        code = BAD_INPUT
    return code


@program.command()
def version() -> None:
    """Print the versions of rawproxy, Python and the dependencies."""
    import importlib.metadata
    import platform

    click.echo(f"rawproxy {rawproxy.__version__}")
    click.echo(f"Python {platform.python_version()}")
    for name in _DEPENDENCIES:
        click.echo(f"{name} {importlib.metadata.version(name)}")


def _read() -> bytes:
    return sys.stdin.buffer.read()


def _reads() -> Iterator[bytes]:
    """Yield standard input as it comes. Frames end with a line, so lines are never late."""
    yield from sys.stdin.buffer


def _put(data: bytes) -> None:
    """Write bytes to standard output at once: whoever reads them may be waiting."""
    if data:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


def _complain(message: str) -> None:
    click.echo(f"rawproxy: {' '.join(message.split())}", err=True)


def main() -> None:
    """Run the program, and exit."""
    program(prog_name="rawproxy")
