"""rawproxy: a streaming proxy for LLM APIs.

The public face: what `__all__` lists is stable, nothing else is. Names are looked up when they are
first used (PEP 562), so `import rawproxy` imports nothing heavy.
"""

import importlib
from typing import TYPE_CHECKING

__all__ = [
    "Config",
    "RawproxyError",
    "Splitter",
    "Violation",
    "__version__",
    "open_proxy",
    "run_in_thread",
    "translate",
    "validate",
]

__version__ = "0.1.0"

if TYPE_CHECKING:
    from rawproxy.app.config import Config
    from rawproxy.app.serve import open_proxy, run_in_thread
    from rawproxy.dialects import translate
    from rawproxy.dialects.grammar import Violation, validate
    from rawproxy.errors import RawproxyError
    from rawproxy.wire.sse import Splitter

_HOMES = {
    "Config": "rawproxy.app.config",
    "RawproxyError": "rawproxy.errors",
    "Splitter": "rawproxy.wire.sse",
    "Violation": "rawproxy.dialects.grammar",
    "open_proxy": "rawproxy.app.serve",
    "run_in_thread": "rawproxy.app.serve",
    "translate": "rawproxy.dialects.translate",
    "validate": "rawproxy.dialects.grammar",
}
_MODULES = frozenset({"translate"})
"""Those of the names that are modules themselves."""


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(home)
    return module if name in _MODULES else getattr(module, name)


def __dir__() -> list[str]:
    return sorted(__all__)
