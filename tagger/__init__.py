"""A Chinese entity tagger that you train on your own corpus, and one that knows people, places and organisations.

    from tagger import Tagger
    tagger = Tagger.load()  # or the folder of a bundle
    tagger("詹天佑毕业于耶鲁大学，后来主持修建京张铁路。")

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
