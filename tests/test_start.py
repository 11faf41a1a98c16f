"""What a run begins with: the general tagger, as far as the settings fit it; decided once; new words get vectors."""

import json
import shutil

import numpy as np
import pytest

from tagger import bundle as bundles
from tagger.config import load
from tagger.default_bundle import GENERAL
from tagger.errors import ConfigError, TrainingError
from tagger.learning import induction, start
from tagger.learning.run import BEGINNING, RunFolder, Sources, TextSources
from tagger.learning.start import NETWORK, NEW, VECTORS, begun, contradiction
from tagger.learning.tables import vector_tables, vectors_origin
from tagger.text import UnitMaker
from tagger.vectors import load_tables
from tests.conftest import SAMPLE

FILES = TextSources((SAMPLE / "train.jsonl",))

# Settings, and the most that a run with them can begin with.
FITTING = [
    ([], NETWORK),
    (["training.epochs=3", "vectors.min_count=1", "vectors.limit=30000", "text.words=['遵义会议']"], NETWORK),
    (["model.layers=[80, 48]"], VECTORS),
    (["vectors.word_dimensions=40"], VECTORS),
    (["model.char_dimensions=0"], VECTORS),
    (["vectors.word_dimensions=100"], NEW),
    (["vectors.epochs=5"], NEW),
    (["vectors.window=8"], NEW),
    (["vectors.storage=float32"], NEW),
    (["vectors.pretrained=vectors"], NEW),
    (["text.fold=false"], NEW),
    (["text.simplify=false"], NEW),
    (["text.unit=word"], NEW),
]


@pytest.mark.parametrize(("settings", "most"), FITTING, ids=lambda value: str(value))
def test_settings_decide_what_of_the_general_tagger_fits(settings, most, tmp_path, capsys):
    config, files = begun(load("default", settings), FILES, tmp_path, lambda: NETWORK)
    assert config.training.start == most
    expected = {NEW: (None, None, False), VECTORS: (GENERAL, None, True), NETWORK: (GENERAL, GENERAL, True)}[most]
    assert (files.vectors, files.start, files.extend) == expected
    assert capsys.readouterr().err.count("\n") == 1
    for asked in (VECTORS, NETWORK):
        asking = load("default", [*settings, f"training.start={asked}"])
        if most in (asked, NETWORK):
            assert not contradiction(asking, asked)
            continue
        name = settings[0].partition("=")[0]
        with pytest.raises(
            ConfigError, match=rf"training\.start = {asked}: does not fit {name}.*; .*--start (new|vectors)"
        ):
            begun(asking, FILES, tmp_path / asked)


@pytest.mark.parametrize(("preset", "most"), [("small", VECTORS), ("large", NEW), ("contest", NEW)])
def test_what_presets_begin_with(preset, most, tmp_path):
    assert begun(load(preset), FILES, tmp_path, lambda: NETWORK)[0].training.start == most


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (
            "--start general --config contest",
            'training.start = general: does not fit text.unit = "word" (it takes "char")',
        ),
        ("--start vectors --config large", "does not fit vectors.word_dimensions = 100 (it takes at most 64)"),
        (
            "--start general --config small",
            "does not fit vectors.word_dimensions = 40 (it takes 64); leave that setting out, or add --start vectors",
        ),
        ("--start generall", "generall: not a bundle"),
    ],
)
def test_a_contradiction_is_told_before_anything_is_loaded(options, error, tmp_path, capsys):
    from tagger.cli import main

    files = ["--train", SAMPLE / "train.jsonl", "--dev", SAMPLE / "dev.jsonl", "--out", tmp_path / "bundle"]
    assert main(["train", *map(str, files), *options.split()]) in (1, 2)
    assert error in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_option_stands_for_the_setting():
    from tagger.cli import command_parsers

    def parsed(*options):
        files = ["--train", "a", "--dev", "b", "--out", "c"]
        return vars(command_parsers()["train"].parse_args([*files, *options]))

    assert parsed("--start", "vectors")["training.start"] == VECTORS
    named = parsed("--start", "./general")
    assert (str(named["start"]), named["training.start"]) == ("general", None)
    assert parsed("--start", "a", "--start", "new")["start"] is None


def test_many_labelled_texts_begin_anew_unless_they_have_the_general_labels(monkeypatch):
    assert start.paying(SAMPLE / "train.jsonl", ["CORE"]) == NETWORK
    monkeypatch.setattr(start, "PAYS", 1000)
    for labels in (["CORE"], ["PER", "LOC"], ["PER", "LOC", "ORG", "GPE"]):
        assert start.paying(SAMPLE / "train.jsonl", labels) == NEW
    assert start.paying(SAMPLE / "train.jsonl", ["PER", "LOC", "ORG"]) == NETWORK


def test_contest_never_asks_what_pays(tmp_path):
    def asked():
        raise AssertionError

    assert load("contest").training.start == NEW
    begun(load("contest"), FILES, tmp_path, asked)


def test_a_run_keeps_what_it_began_with(tmp_path, capsys):
    begun(load(), FILES, tmp_path, lambda: VECTORS)
    capsys.readouterr()
    for pays in (NEW, NETWORK):
        config, files = begun(load(), FILES, tmp_path, lambda pays=pays: pays)
        assert (config.training.start, files.vectors, files.start) == (VECTORS, GENERAL, None)
    assert not capsys.readouterr().err
    record = tmp_path / BEGINNING
    record.write_text(json.dumps({**json.loads(record.read_text()), "general": "0" * 64}))
    with pytest.raises(TrainingError, match="another general tagger"):
        begun(load(), FILES, tmp_path)


def test_a_bundle_that_is_named_counts_more(tmp_path):
    files = Sources(*FILES.vector_texts, SAMPLE / "dev.jsonl", vectors=GENERAL, start=GENERAL)
    config = load("default", ["training.start=new"])
    assert begun(config, files, tmp_path) == (config, files)
    assert not list(tmp_path.iterdir())


def test_an_installation_without_a_general_tagger_begins_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(start, "GENERAL", tmp_path / "none")
    assert begun(load(), FILES, tmp_path, lambda: NETWORK)[0].training.start == NEW


NEW_WORD = "魑魅国"


def test_new_words_get_vectors_and_the_others_keep_theirs():
    config = load("default", [f"text.words=['{NEW_WORD}']"])
    tables = load_tables(GENERAL, "char")
    texts = [f"他去了{city}，我们都在{city}工作。" for city in ("北京", "上海", "广州", "南京", "武汉", NEW_WORD)] * 30
    ours = induction.extended(tables, lambda: texts, UnitMaker(config.text), config.vectors)
    for old, new in zip(tables, ours, strict=True):
        assert new.vocabulary.words[: len(old.vocabulary.words)] == old.vocabulary.words
        np.testing.assert_array_equal(new.vectors[: len(old.vectors)], old.vectors)
        lengths = np.linalg.norm(new.rows(np.arange(len(old.vectors), len(new.vectors))), axis=1)
        assert (np.abs(lengths - 0.5 * new.dimensions**0.5) < 0.1).all()
    word, (row, known, other) = ours[-1], (ours[-1].vocabulary.ids([NEW_WORD, "北京", "我们"]))
    assert row >= len(tables[-1].vectors)
    vectors = word.rows(np.array([row, known, other]))
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]


def test_rows_are_limited_and_rare_words_left_out():
    tables = load_tables(GENERAL, "char")
    texts = ["魑魅国在魑魅国的东边", "饕餮"]
    for settings, more in ((["vectors.limit=18001"], 1), (["vectors.limit=18000"], 0), (["vectors.min_count=9"], 0)):
        config = load("default", settings)
        grown = induction.extended(tables, lambda: texts, UnitMaker(config.text), config.vectors)
        assert len(grown[1].vectors) - len(tables[1].vectors) == more


def test_texts_without_a_known_item_are_no_error():
    tables, config = load_tables(GENERAL, "char"), load()
    grown = induction.extended(tables, lambda: ["\U00020001" * 9], UnitMaker(config.text), config.vectors)
    assert all(np.isfinite(table.rows(np.arange(len(table.vectors)))).all() for table in grown)


def test_tables_that_a_killed_run_lacks_are_made_again(tmp_path):
    config, files = load(), TextSources((SAMPLE / "train.jsonl",), vectors=GENERAL, extend=True)
    run = RunFolder(tmp_path / "run", config, files, resume=False)
    first = vector_tables(run, config, files, UnitMaker(config.text))
    origin = vectors_origin(run, files)
    assert origin["vectors"]["added"]["word"] == len(first[-1].vectors) - len(load_tables(GENERAL, "char")[-1].vectors)
    rows = np.array(first[-1].vectors)
    shutil.rmtree(run.folder / "tables" / "word")
    again = vector_tables(run, config, files, UnitMaker(config.text))
    np.testing.assert_array_equal(again[-1].vectors, rows)
    assert vectors_origin(run, files) == origin


@pytest.mark.train
def test_the_network_of_the_general_tagger_fits_longer_tables():
    from tagger.lookup import Lookup
    from tagger.tags import TagScheme
    from tagger.weights import fresh_model

    found, config = bundles.load(GENERAL), load()
    texts = ["\U00020001\U00020002" * 9]
    tables = induction.extended(found.lookup.tables, lambda: texts, UnitMaker(config.text), config.vectors)
    model = fresh_model(config, TagScheme(("X",)), Lookup(tables, found.lookup.lexicon))
    before = model.embeddings[0].embeddings.numpy()
    found.load_weights(model)
    rows, theirs = model.embeddings[0].embeddings.numpy(), found.weights().embeddings[0][1]
    np.testing.assert_array_equal(rows[: len(theirs)], theirs)
    np.testing.assert_array_equal(rows[len(theirs) :], before[len(theirs) :])
    assert len(rows) == len(theirs) + 2


@pytest.mark.train
def test_a_bundle_records_what_its_training_began_with(small_corpus, tmp_path):
    from tagger.learning.training import train

    files = Sources(small_corpus / "train.jsonl", small_corpus / "dev.jsonl")
    config = load("default", ["training.epochs=1", "training.start=general", "decode.calibrate=false"])
    metrics = train(config, files, tmp_path / "bundle")
    assert metrics["vectors"] == json.loads((tmp_path / "bundle" / "metrics.json").read_text())["vectors"]
    assert metrics["vectors"]["general"] == bundles.digest(GENERAL)
    assert set(metrics["vectors"]["added"]) == {"char", "bigram", "word"}
    assert bundles.load(tmp_path / "bundle").config.training.start == NETWORK
