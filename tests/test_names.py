import re

import pytest

import tagger


def test_public_names():
    assert tagger.__all__ == ["Document", "Entity", "Span", "Tagger", "TaggerError"]


def test_every_public_name_can_be_imported():
    names = {}
    exec("from tagger import *", names)
    assert set(tagger.__all__) == set(names) - {"__builtins__"}
    assert all(names[name].__name__ == name and names[name].__doc__ for name in tagger.__all__)


def test_another_name_is_not_there():
    with pytest.raises(AttributeError, match="module 'tagger' has no attribute 'Nothing'"):
        _ = tagger.Nothing


def test_the_version_is_that_of_a_release():
    assert re.fullmatch(r"\d+\.\d+\.\d+", tagger.__version__)
