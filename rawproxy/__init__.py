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

_HOMES = {
    "Config": "rawproxy.app.config",
    "RawproxyError": "rawproxy.errors",
    "Splitter": "rawproxy.wire.sse",
    "Violation": "rawproxy.dialects.grammar",
    "open_proxy": "rawproxy.app.serve",
    "run_in_thread": "rawproxy.app.serve",
    "validate": "rawproxy.dialects.grammar",
}
_MODULES = {"translate": "rawproxy.dialects.translate"}

if TYPE_CHECKING:
    from rawproxy.app.config import Config
    from rawproxy.app.serve import open_proxy, run_in_thread
    from rawproxy.dialects import translate
    from rawproxy.dialects.grammar import Violation, validate
    from rawproxy.errors import RawproxyError
    from rawproxy.wire.sse import Splitter
else:  # a type checker would take `__getattr__` to mean that every name is there

    def __getattr__(name: str) -> object:
        if name in _MODULES:
            return importlib.import_module(_MODULES[name])
        if name in _HOMES:
            return getattr(importlib.import_module(_HOMES[name]), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
