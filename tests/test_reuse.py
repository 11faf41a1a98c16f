"""Tables of vectors of a run: kept as soon as they are learnt, reused where the texts are the same, or nearly so."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from tagger import bundle as bundles
from tagger import config
from tagger.errors import BundleError
from tagger.learning import cache, tables
from tagger.learning.cache import Entry, exact_entry, similar_entry
from tagger.learning.run import RunFolder, Sources
from tagger.learning.sketch import EQUAL, Sketch
from tagger.learning.tables import vector_tables, vectors_origin
from tagger.text import UnitMaker
from tests.conftest import SMALL
from tests.make_golden_bundle import GOLDEN
from tests.samples import rows, table

pytest.importorskip("gensim")


# ---- sketches -----------------------------------------------------------------------------------------------------


def texts(count, start=0, length=20):
    return [f"第{number}句".ljust(length, "文") for number in range(start, start + count)]


def test_equal_texts_do_not_differ():
    one, other = Sketch.of(texts(50)), Sketch.of(iter(texts(50)))
    assert one.difference(other) == EQUAL
    assert (one.digest, one.texts, one.characters) == (other.digest, 50, 1000)


def test_the_order_of_texts_is_in_the_digest_alone():
    one, other = Sketch.of(texts(50)), Sketch.of(texts(50)[::-1])
    assert one.difference(other) == EQUAL
    assert one.digest != other.digest


def test_where_one_text_ends_is_in_the_digest():
    assert Sketch.of(["北京", "大学"]).digest != Sketch.of(["北京大", "学"]).digest != Sketch.of(["北京大学"]).digest


@pytest.mark.parametrize("changed", [0, 1, 3, 50])
def test_changed_texts_are_counted(changed):
    before, after = texts(100), texts(100)
    after[:changed] = texts(changed, start=1000)
    difference = Sketch.of(before).difference(Sketch.of(after))
    assert difference.texts == changed
    assert difference.characters == pytest.approx(changed / 100)


def test_a_long_text_counts_by_its_characters():
    short, long = texts(99), ["长" * 99 * 20]
    assert Sketch.of([*short, *long]).difference(Sketch.of(short)).characters == pytest.approx(0.5)


def test_texts_that_are_given_twice_differ():
    difference = Sketch.of(texts(100)).difference(Sketch.of(texts(100) * 2))
    assert (difference.texts, difference.characters) == (100, 0.5)


def test_a_sketch_is_bounded_and_still_tells_what_differs():
    before, after = texts(20_000), texts(20_000)
    after[:2000] = texts(2000, start=50_000)
    one, other = Sketch.of(before, most=1000), Sketch.of(after, most=3000)
    assert max(len(one.hashes), len(other.hashes)) <= 3000
    difference = one.difference(other)
    assert difference == other.difference(one)
    assert 1000 < difference.texts < 3500
    assert 0.05 < difference.characters < 0.18


def test_blank_and_odd_texts_are_no_trouble():
    sketch = Sketch.of(["", " \n", "\ud800", "甲"])
    assert sketch.texts == 2
    assert Sketch.of([]).difference(Sketch.of([])) == EQUAL
    assert Sketch.of([]).difference(sketch).characters == 1


@pytest.mark.parametrize("damage", [None, b"", b"junk", 100])
def test_a_saved_sketch_is_loaded_or_missing(tmp_path, damage):
    sketch, path = Sketch.of(texts(30)), tmp_path / "texts.npz"
    sketch.save(path)
    if damage is not None:
        path.write_bytes(path.read_bytes()[:damage] if isinstance(damage, int) else damage)
        assert Sketch.load(path) is None
        return
    loaded = Sketch.load(path)
    assert loaded.difference(sketch) == EQUAL
    assert (loaded.digest, loaded.texts) == (sketch.digest, 30)


# ---- the cache ----------------------------------------------------------------------------------------------------


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """Return a function that returns the entry of texts, which has a small table if it is `filled`."""
    monkeypatch.setenv("TAGGER_CACHE", str(tmp_path / "cache"))
    settings = config.load("default", ["text.unit=word"])

    def entry(content, filled=True, *changes):
        changed, sketch = config.load("default", ["text.unit=word", *changes]), Sketch.of(content)
        made = exact_entry(changed, UnitMaker(settings.text), sketch)
        if filled:
            made.add(table("word", ["甲", "乙"]), sketch)
        return made

    return entry


def test_few_other_texts_are_similar(cached):
    near = cached(texts(200))
    new = texts(199) + texts(1, start=900)
    found = similar_entry(cached(new, False), Sketch.of(new), ["word"])
    assert (found.folder, found.difference.texts) == (near.folder, 1)
    other = texts(150) + texts(50, start=900)
    assert similar_entry(cached(other, False), Sketch.of(other), ["word"]) is None


def test_of_similar_texts_the_nearest_are_taken(cached):
    cached(texts(197) + texts(3, start=900))
    near = cached(texts(199) + texts(1, start=900))
    found = similar_entry(cached(texts(200), False), Sketch.of(texts(200)), ["word"])
    assert found.folder == near.folder


def test_other_settings_are_not_similar(cached):
    cached(texts(200))
    new = texts(199)
    for change in ("vectors.window=2", "training.seed=2", 'text.words=["甲乙"]', "text.fold=false"):
        assert similar_entry(cached(new, False, change), Sketch.of(new), ["word"]) is None
    for change in ("vectors.reuse=false", "vectors.pretrained=some.txt", "model.dropout=0.1"):
        assert similar_entry(cached(new, False, change), Sketch.of(new), ["word"])


def test_an_entry_that_lacks_a_table_is_not_similar(cached):
    cached(texts(200))
    assert similar_entry(cached(texts(199), False), Sketch.of(texts(199)), ["char", "word"]) is None


@pytest.mark.parametrize("damage", [lambda file: file.unlink(), lambda file: file.write_bytes(file.read_bytes()[:-1])])
def test_a_damaged_table_is_deleted(cached, capsys, damage):
    entry = cached(texts(20))
    assert entry.load("word").vocabulary.words == ["甲", "乙"]
    damage(entry.folder / "word" / "word.npy")
    assert entry.load("word") is None
    assert "word.npy is damaged" in capsys.readouterr().err
    entry.add(table("word", ["丙"]), Sketch.of(texts(20)))
    assert entry.load("word").vocabulary.words == ["丙"]


def test_only_the_latest_entries_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "_ENTRIES", 2)
    for number in range(4):
        Entry(tmp_path / str(number)).add(table("word", ["甲"]), Sketch.of(["甲"]))
        os.utime(tmp_path / str(number), (number, number))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2", "3"]


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path):
    (tmp_path / "file").write_text("")
    Entry(tmp_path / "file" / "vectors").add(table("word", ["甲"]), Sketch.of(["甲"]))


# ---- a run --------------------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Return a function that makes the tables of a run, and returns them, their origin, and what is said."""
    monkeypatch.setenv("TAGGER_CACHE", str(tmp_path / "cache"))

    def make(name, content, *changes, resume=False):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        for file in ("train.jsonl", "dev.jsonl"):
            lines = (json.dumps({"text": text, "entities": []}, ensure_ascii=False) for text in content)
            (folder / file).write_text("\n".join(lines) + "\n", "utf-8")
        sources = Sources(folder / "train.jsonl", folder / "dev.jsonl")
        settings = config.load("default", [*SMALL, *changes])
        held = RunFolder(folder / "run", settings, sources, resume)
        made = vector_tables(held, settings, sources, UnitMaker(settings.text))
        return made, vectors_origin(held, sources).get("vectors"), capsys.readouterr().err

    return make


def sample(count):
    return [row["text"] for row in rows("train")[:count]]


def equal(ours, theirs):
    return all(
        one.vocabulary.words == other.vocabulary.words and np.array_equal(one.vectors, other.vectors)
        for one, other in zip(ours, theirs, strict=True)
    )


def test_vectors_are_learnt_once_for_the_same_texts(run):
    first, origin, said = run("a", sample(200))
    assert origin == {"reused": "", "texts": 200, "differing": 0}
    assert "reused" not in said
    again, origin, said = run("b", sample(200), "model.dropout=0.3", "vectors.reuse=false")
    assert origin["reused"]
    assert "char, bigram, word reused from an earlier run with the same texts" in said
    assert equal(first, again)
    other, origin, said = run("c", sample(200), "vectors.window=7")
    assert not equal(first, other)
    assert not origin["reused"]


def test_vectors_are_learnt_again_only_if_the_texts_changed_materially(run):
    first, *_ = run("a", sample(200))
    corrected = [*sample(198), "改过的一句话。", "又改了一句。"]
    again, origin, said = run("b", corrected)
    assert equal(first, again)
    assert "vectors: reused from an earlier run (2 of 200 texts differ" in said
    assert (origin["texts"], origin["differing"]) == (200, 2)
    strict, origin, _ = run("c", corrected, "vectors.reuse=false")
    assert not equal(first, strict)
    assert origin["reused"] == ""
    more, origin, _ = run("d", sample(240))
    assert not equal(first, more)
    assert origin["reused"] == ""


class KilledError(Exception):
    pass


@pytest.mark.parametrize("cached", [True, False])
def test_a_kill_costs_only_the_table_that_was_being_learnt(run, tmp_path, monkeypatch, cached):
    whole, *_ = run("whole", sample(100))
    learn, learnt = tables.learn, []

    def killed(*arguments):
        for made in learn(*arguments):
            if made.name == "word" and not learnt.count("word"):
                learnt.append("word")
                raise KilledError
            learnt.append(made.name)
            yield made

    monkeypatch.setenv("TAGGER_CACHE", str(tmp_path / "other") if cached else "")
    monkeypatch.setattr(tables, "learn", killed)
    with pytest.raises(KilledError):
        run("a", sample(100))
    assert learnt == ["char", "bigram", "word"]
    name = "b" if cached else "a"  # another run, by way of the cache, or the same one
    ours, *_ = run(name, sample(100), resume=not cached)
    assert learnt == ["char", "bigram", "word", "word"]
    assert equal(ours, whole)


def test_a_ready_made_word_table_comes_with_learnt_ones(run, tmp_path):
    (tmp_path / "own.txt").write_text("2 3\n北京 1 2 3\n上海 3 2 1\n", "utf-8")
    made, origin, _ = run("a", sample(100), f"vectors.pretrained={tmp_path / 'own.txt'}")
    assert made[-1].vocabulary.words == ["北京", "上海"]
    assert origin == {"pretrained": str(tmp_path / "own.txt"), "reused": "", "texts": 100, "differing": 0}
    again, origin, _ = run("b", sample(100), f"vectors.pretrained={tmp_path / 'own.txt'}")
    assert origin["reused"]
    assert equal(made, again)


def test_the_origin_goes_with_the_vectors_of_a_bundle(tmp_path):
    (tmp_path / "metrics.json").write_text('{"f1": 0.5, "vectors": {"reused": "x"}}', "utf-8")
    assert vectors_origin(None, Sources(Path("t"), Path("d"), vectors=tmp_path)) == {"vectors": {"reused": "x"}}
    assert vectors_origin(None, Sources(Path("t"), Path("d"), vectors=tmp_path / "none")) == {}


@pytest.mark.parametrize("name", ["fold", "simplify"])
def test_vectors_of_a_bundle_are_looked_up_as_they_were_learnt(tmp_path, name):
    start = GOLDEN / f"format-{bundles.FORMAT_VERSION}"
    settings = config.load("default", [f"text.{name}=false"])
    with pytest.raises(
        BundleError, match=rf"text\.{name}=true, and the settings have false; add --set text.{name}=true$"
    ):
        vector_tables(None, settings, Sources(tmp_path, tmp_path, vectors=start), UnitMaker(settings.text))
    older, begun = config.load("default", bundles.settings_since(GOLDEN / "format-3")), GOLDEN / "format-3"
    sources = Sources(tmp_path, tmp_path, vectors=begun, start=begun)
    assert vector_tables(None, older, sources, UnitMaker(older.text))
