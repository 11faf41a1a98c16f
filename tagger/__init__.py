"""A Chinese entity tagger that you train on your own corpus.

    from tagger import Tagger
    tagger = Tagger.load("bundle")
    tagger("遵义会议旧址，主要指召开遵义会议的那座小楼。")

Importing this imports nothing else: a name is loaded when it is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tagger.api import Tagger
    from tagger.documents import Document, Entity, Span
    from tagger.errors import TaggerError

__version__ = "0.2.0"
__all__ = ["Document", "Entity", "Span", "Tagger", "TaggerError"]

_HOMES = {
    "Document": "documents",
    "Entity": "documents",
    "Span": "documents",
    "TaggerError": "errors",
    "Tagger": "api",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"tagger.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'tagger' has no attribute {name!r}")
