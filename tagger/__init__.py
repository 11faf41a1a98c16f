"""A Chinese entity tagger that you train on your own corpus.

    from tagger import Tagger
    tagger = Tagger.load("bundle")
    tagger("遵义会议旧址，主要指召开遵义会议的那座小楼。")

Importing this imports neither TensorFlow nor gensim.
"""

from tagger.corpus import Document, Entity, Span
from tagger.errors import TaggerError
from tagger.pipeline import Tagger

__version__ = "0.1.0"
__all__ = ["Document", "Entity", "Span", "Tagger", "TaggerError", "__version__"]
