import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagger import bundle as bundles
from tagger import config, corpus, errors
from tagger.documents import Document, Entity, Span
from tagger.errors import TrainingError
from tagger.formats import native
from tagger.learning.run import Sources
from tagger.pipeline import Result
from tagger.tags import OPEN, OUTSIDE, TagScheme, UnitSpan
from tests.conftest import ROOT, SMALL, shared_folder
from tests.samples import few

SETTINGS = [
    *SMALL,
    "batches.texts=16",
    "training.epochs=6",
    "pretrain.epochs=2",
    "transfer.epochs=3",
    "transfer.fine_tune_epochs=2",
    "transfer.patience=0",
    "transfer.entity_threshold=0.3",
    "transfer.outside_threshold=0.9",
]


def entity(start, end, score, text="李明去北京大学", label="A"):
    return Entity(start, end, label, text[start:end], score)


def result(entities, outside, text="李明去北京大学"):
    best = max(entities, key=lambda e: e.score, default=None)
    return Result(text, entities, best, np.array(outside, np.float32))


# ---- selection ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entities", "outside", "spans", "unlabelled"),
    [
        ([entity(0, 2, 0.95)], [0, 0, 1, 1, 1, 1, 1], [Span(0, 2, "A")], []),
        ([entity(0, 2, 0.95), entity(3, 5, 0.8)], [0, 0, 1, 0.1, 0.1, 0.6, 1], [Span(0, 2, "A")], [(3, 6)]),
        ([entity(0, 2, 0.8)], [0.1, 0.1, 1, 1, 1, 1, 0.5], [], [(0, 2), (6, 7)]),
        ([entity(0, 2, 0.9)], [0.1] * 7, [Span(0, 2, "A")], [(2, 7)]),
        ([], [1] * 7, [], []),
    ],
)
def test_what_is_confident_is_labelled_and_all_else_is_not(entities, outside, spans, unlabelled):
    from tagger.learning.labelling import confident_labels

    document = confident_labels(result(entities, outside), entity_threshold=0.9, outside_threshold=0.95)
    assert document == Document("李明去北京大学", tuple(spans), unlabelled=tuple(unlabelled))


@pytest.mark.parametrize("text", ["李明去北京大学", ""])
def test_a_text_without_a_confident_label_is_left_out(text):
    from tagger.learning.labelling import confident_labels

    assert confident_labels(result([], [0.5] * len(text), text), 0.9, 0.95) is None


@few
@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=20), st.floats(0, 1), st.floats(0, 1))
def test_each_character_is_confident_or_unlabelled(characters, least_entity, least_outside):
    from tagger.learning.labelling import confident_labels

    text = "字" * len(characters)
    entities = [entity(at, at + 1, score, text) for at, (score, inside) in enumerate(characters) if inside]
    outside = np.array([score for score, _ in characters], np.float32)
    document = confident_labels(Result(text, entities, None, outside), least_entity, least_outside)
    spans, stretches = (document.entities, document.unlabelled) if document else ((), [(0, len(text))])
    taken = {span.start for span in spans}
    assert taken == {e.start for e in entities if e.score >= least_entity}
    left = {at for start, end in stretches for at in range(start, end)}
    assert left == {at for at in range(len(text)) if at not in taken and outside[at] < np.float32(least_outside)}


@pytest.mark.parametrize(
    ("entities", "spans"),
    [
        ([entity(0, 1, 0.6, "甲乙甲"), entity(1, 2, 0.5, "甲乙甲")], [Span(0, 1, "A"), Span(2, 3, "A")]),
        ([entity(1, 2, 0.5, "甲乙甲", "B")], [Span(1, 2, "B")]),
    ],
)
def test_the_answer_is_marked_wherever_it_stands(entities, spans):
    from tagger.learning.labelling import answer_labels

    assert answer_labels(result(entities, [1] * 3, "甲乙甲")) == Document("甲乙甲", tuple(spans))
    assert answer_labels(result([], [1] * 3, "甲乙甲")) is None


class FakeTagger:
    def __init__(self, results):
        self.by_text = {tagged.text: tagged for tagged in results}

    def results(self, texts, answers, outside):
        return (self.by_text[text] for text in texts)


def labelled_by(results, documents, agreeing, *settings):
    from tagger.learning.labelling import label_texts

    written = []
    chosen = config.load("default", settings).transfer
    return label_texts(FakeTagger(results), documents, chosen, agreeing, written.append), written


def test_from_the_second_round_on_all_rounds_must_agree():
    results = [result([entity(0, 1, 0.9, text)], [1] * 2, text) for text in ("甲一", "乙二", "丙三")]
    results.append(result([], [1, 1], "丁四"))
    texts = [Document(tagged.text) for tagged in results]
    counts, first = labelled_by(results, texts, False, "transfer.select=agreed")
    assert [document.text for document in first] == ["甲一", "乙二", "丙三"]
    assert counts == {"texts": 3, "entities": 3, "labelled": 0.75}
    results[1] = result([entity(1, 2, 0.9, "乙二")], [1] * 2, "乙二")
    results[2] = result([], [1, 1], "丙三")
    counts, second = labelled_by(results, first, True, "transfer.select=agreed")
    assert second == [Document("甲一", (Span(0, 1, "A"),))]


def test_counts_say_how_much_is_labelled():
    results = [result([entity(0, 2, 0.95)], [0, 0, 0.5, 1, 1, 1, 1]), result([], [0.5] * 3, "无知的")]
    counts, written = labelled_by(results, [Document(tagged.text) for tagged in results], False)
    assert counts == {"texts": 1, "entities": 1, "labelled": 0.6}
    assert written[0].unlabelled == ((2, 3),)


def test_a_recipe_sets_what_goes_together_and_a_setting_overrides_it():
    sure, contest = (config.load("contest", recipe=recipe).transfer for recipe in ("sure", "contest"))
    assert (sure.select, sure.restart, contest.select, contest.restart) == ("sure", False, "agreed", False)
    assert (sure.pretrain, contest.pretrain) == (True, False)
    assert sure.masking > contest.masking == 0
    assert contest.weights == (0.1, 0.2, 1.0, 1.0)
    assert config.load("default", ["transfer.epochs=3"], "contest").transfer.epochs == 3


# ---- partly labelled texts ------------------------------------------------------------------------------------


def test_unlabelled_stretches_come_back_from_a_file_and_leave_units_open(tmp_path):
    from tagger.sections import TextConfig
    from tagger.text import UnitMaker

    text, spans, stretches = "李明去北京", (Span(0, 2, "A"),), ((1, 4),)
    (tmp_path / "a.jsonl").write_text(native.to_native(text, spans, unlabelled=stretches) + "\n", "utf-8")
    (document,) = corpus.read(tmp_path / "a.jsonl")
    assert (document.entities, document.unlabelled) == (spans, stretches)
    units = UnitMaker(TextConfig())(text)
    tags = TagScheme(("A",)).encode([UnitSpan(0, 2, 0)], 5, [units.touched(*stretch) for stretch in stretches])
    assert tags.tolist() == [2, 4, OPEN, OPEN, OUTSIDE]


@few
@given(st.text("去北京大学 a1", min_size=1, max_size=12), st.data())
def test_a_unit_is_touched_if_it_has_one_of_the_characters(text, data):
    from tagger.sections import TextConfig
    from tagger.text import UnitMaker

    units = UnitMaker(TextConfig(unit="word"))(text)
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    expected = [t for t in range(len(units)) if units.bounds[t] < end and units.bounds[t + 1] > start]
    assert list(range(len(units)))[units.touched(start, end)] == expected


@pytest.mark.parametrize(
    ("stretches", "message"),
    [
        ("[[0, 4]]", r"a\.jsonl:1: expected an unlabelled stretch \[start, end\] with 0 <= start < end <= 3, received"),
        ("[[1, 1]]", "unlabelled stretch"),
        ("[[true, 2]]", "unlabelled stretch"),
        ("[1]", "unlabelled stretch"),
        ('"all"', 'expected "unlabelled" with a list'),
    ],
)
def test_malformed_stretches_are_errors(tmp_path, stretches, message):
    (tmp_path / "a.jsonl").write_text(f'{{"text": "去北京", "entities": [], "unlabelled": {stretches}}}\n', "utf-8")
    with pytest.raises(errors.CorpusError, match=message):
        list(corpus.read(tmp_path / "a.jsonl"))


# ---- gathering ------------------------------------------------------------------------------------------------


@pytest.fixture
def gathered(tmp_path):
    """Return a function that gathers from these unlabelled texts beside one labelled text."""

    def gather(texts, *settings):
        from tagger.learning.unlabelled import Disk, gather_unlabelled

        (tmp_path / "train.jsonl").write_text(native.to_native("已标注的", ()) + "\n", "utf-8")
        with (tmp_path / "more.txt").open("w", encoding="utf-8") as file:
            file.writelines(f"{text}\n" for text in texts)
        (tmp_path / "texts.jsonl.gz").unlink(missing_ok=True)
        sources = Sources(tmp_path / "train.jsonl", tmp_path / "train.jsonl", (tmp_path / "more.txt",))
        loaded = config.load("default", settings)
        characters, disk = loaded.transfer.characters, Disk.of_rounds(loaded)
        gather_unlabelled(sources, characters, loaded.training.seed, disk, tmp_path / "texts.jsonl.gz")
        return [document.text for document in corpus.read(tmp_path / "texts.jsonl.gz")]

    return gather


def test_blank_labelled_and_repeated_texts_are_not_tagged(gathered):
    assert gathered(["甲", "", "已标注的", "  ", "乙", "甲", "乙 "]) == ["甲", "乙"]


def test_of_much_text_an_even_share_is_taken(gathered):
    texts = [f"第{number:04}篇" for number in range(1000)]
    some = gathered(texts, "transfer.characters=1200")
    assert 150 < len(some) < 250
    assert some == sorted(some)
    assert any(text > "第0900篇" for text in some)
    assert gathered(texts, "transfer.characters=0") == texts


def test_a_huge_text_is_tagged_in_pieces(gathered):
    assert [len(text) for text in gathered(["长" * 45_000])] == [20_000, 20_000, 5_000]


def test_gathering_is_a_stream(gathered):
    """Memory does not grow with the text, but with what is taken of it."""
    gathered(["先载入所需"])  # what is imported is not of the text
    peaks = []
    for count in (600, 2_400):
        tracemalloc.start()
        gathered((f"第{number:05}篇文章，" * 100 for number in range(count)), "transfer.characters=20000")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


def test_labelled_texts_with_other_entities_come_before_what_is_unlabelled(tmp_path, capsys):
    from tagger.learning.unlabelled import Disk, gather_unlabelled

    names, more, out = ("李明", "王芳", "张伟", "赵敏", "陈建"), tmp_path / "more.txt", tmp_path / "texts.jsonl.gz"

    def gather(text, *unlabelled):
        train = tmp_path / "train.jsonl"
        labelled = [(text.format(place), name) for place, name in enumerate(names)]
        lines = [native.to_native(f"{name}{rest}", [Span(0, 2, "PER")]) for rest, name in labelled]
        train.write_text("".join(f"{line}\n" for line in lines), "utf-8")
        sources, disk = Sources(train, train, unlabelled), Disk.of_rounds(config.load())
        gather_unlabelled(sources, 0, 1, disk, out, exchanged=1000)
        return [document.text for document in corpus.read(out)], [f"{name}{rest}" for rest, name in labelled]

    more.write_text("没有人来。\n", "utf-8")
    (*exchanged, last), labelled = gather("坐在第{}排。", more)
    assert last == "没有人来。"
    assert len(exchanged) == len(set(exchanged)) >= 5
    assert not set(exchanged) & set(labelled)
    assert {text[2:] for text in exchanged} == {text[2:] for text in labelled}
    assert gather("来了。") == ([], [f"{name}来了。" for name in names])  # any name in any place is labelled already
    assert "exchanged: 0 labelled texts" in capsys.readouterr().err


def test_no_text_to_tag_is_an_error(gathered):
    with pytest.raises(TrainingError, match=r"more\.txt: no text that is not labelled already"):
        gathered(["已标注的", " "])


def test_disk_use_is_reported_first_and_too_little_is_an_error(gathered, tmp_path, capsys, monkeypatch):

    gathered(["甲"])
    assert re.search(r"at most about \d+ MB of disk, \d+ MB in the end; [\d,]+ MB are free", capsys.readouterr().err)
    (tmp_path / "texts.jsonl.gz").unlink()
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(9, 9, 0))
    with pytest.raises(TrainingError, match="0 MB are free; make room"):
        gathered(["甲"])
    assert not (tmp_path / "texts.jsonl.gz").exists()


def test_disk_use_does_not_grow_without_end():
    from tagger.learning.unlabelled import Disk

    most, stay = Disk.of_rounds(config.load("default")).use(10**6, 3 * 10**8, 3 * 10**6)
    assert stay < 3e8
    assert most < 10e9


# ---- rounds ---------------------------------------------------------------------------------------------------


def command(small_corpus, out, *more):
    options = [option for setting in SETTINGS for option in ("--set", setting)]
    files = ["--train", small_corpus / "train.jsonl", "--dev", small_corpus / "dev.jsonl", "--out", out]
    files += ["--unlabelled", small_corpus / "more.txt", small_corpus / "dev.jsonl", "--rounds", "2"]
    return [sys.executable, "-m", "tagger.cli", "transfer", *map(str, files), *options, *more]


def run(*arguments):
    return subprocess.run(command(*arguments), cwd=ROOT, capture_output=True, text=True)


def weights(folder):
    return bundles.load(folder).folder.joinpath(bundles.ONNX).read_bytes()


@pytest.mark.parametrize(("score", "chosen"), [("f1", 1), ("top1", 0), ("contest", 0)])
def test_the_round_is_chosen_by_the_score_that_is_asked_for(score, chosen):
    from tagger.learning.self_training import best_round

    rounds = [{"f1": 0.5, "top1": 0.8}, {"f1": 0.6, "top1": 0.7}, {"f1": 0.6, "top1": 0.8}]
    assert best_round([{"round": number, **scores} for number, scores in enumerate(rounds)], score) == chosen


def finished(recipe, small_corpus, tmp_path_factory):
    """Return the bundle of a finished run, beside its folder and what it wrote on standard error."""

    def make(folder):
        done = run(small_corpus, folder / "out", "--recipe", recipe)
        assert done.returncode == 0, done.stderr
        (folder / "stderr").write_text(done.stderr, "utf-8")

    return shared_folder(tmp_path_factory, f"self_training_{recipe}", make) / "out"


@pytest.mark.train
@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["sure", "contest"])
def test_every_round_is_kept_and_the_best_becomes_the_bundle(small_corpus, tmp_path_factory, capsys, recipe):
    from tagger.cli import main

    out = finished(recipe, small_corpus, tmp_path_factory)
    kept = out.with_name("out.transfer")
    assert "MB of disk" in out.with_name("stderr").read_text("utf-8")
    history = json.loads((kept / "rounds.json").read_text("utf-8"))
    assert [row["round"] for row in history] == [0, 1, 2]
    assert (kept / "rounds.png").read_bytes()[1:4] == b"PNG"
    best = max(history, key=lambda row: row["f1"])["round"]
    assert weights(out) == weights(kept / f"round_{best}")
    pool = [document.text for document in corpus.read(kept / "texts.jsonl.gz")]
    for row in history[1:]:
        documents = list(corpus.read(kept / f"round_{row['round']}.jsonl.gz"))
        assert row["predictions"]["texts"] == len(documents) > 0
        assert {document.text for document in documents} <= set(pool)
        assert any(document.unlabelled for document in documents) == (recipe == "sure")
    if recipe == "contest":
        first, second = (
            {document.text: document.entities for document in corpus.read(kept / f"round_{number}.jsonl.gz")}
            for number in (1, 2)
        )
        assert second.items() < first.items()
    assert (kept / "pretrained").is_dir() == (recipe == "sure")
    vectors = {(kept / f"round_{number}" / "word.npy").read_bytes() for number in range(3)}
    assert len(vectors) == 1
    assert not list(kept.glob("*.training"))
    assert main(command(small_corpus, out, "--recipe", recipe)[3:]) == 1
    assert "exists already" in capsys.readouterr().err


@pytest.mark.train
@pytest.mark.slow
def test_a_run_killed_anywhere_resumes_and_ends_with_the_same_weights(small_corpus, tmp_path, tmp_path_factory, capsys):
    from tagger.cli import main

    whole = finished("sure", small_corpus, tmp_path_factory)  # the default recipe
    out, kept = tmp_path / "killed", tmp_path / "killed.transfer"
    fitting = [f"{name}.training/checkpoint.npz" for name in ("pretrained", "round_0", "round_1.both", "round_1")]
    moments = [*fitting[:2], ".*.part.round_1.jsonl.gz", *fitting[2:], "round_2"]
    for number, moment in enumerate(moments):
        more = ["--resume"] if number else []
        process = subprocess.Popen(command(small_corpus, out, *more), cwd=ROOT, stderr=subprocess.DEVNULL)
        while not any(kept.glob(moment)) and process.poll() is None:
            time.sleep(0.002)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        if number == 0:
            assert main(command(small_corpus, out)[3:]) == 1
            assert "--resume" in capsys.readouterr().err
    done = run(small_corpus, out, "--resume")
    assert done.returncode == 0, done.stderr
    for name in ("pretrained", "round_0", "round_1", "round_2.both", "round_2"):
        assert weights(kept / name) == weights(whole.with_name("out.transfer") / name)
    assert weights(out) == weights(whole)


def two_rounds(*settings):
    """Return the one training of each of two rounds without fine-tuning."""
    from tagger.learning.self_training import Round, plan_round

    chosen = config.load("default", ["transfer.fine_tune_epochs=0", *settings])
    plans = [plan_round(Round(Path("out"), number), chosen, Sources(Path("train"), Path("dev"))) for number in (1, 2)]
    return [step for (step,) in plans]


@pytest.mark.parametrize(("restart", "starts"), [("false", ["round_0", "round_1"]), ("true", ["round_0", "round_0"])])
def test_a_round_begins_where_it_should(restart, starts):
    steps = two_rounds(f"transfer.restart={restart}")
    assert [step.sources.start.name for step in steps] == starts
    assert [step.sources.vectors.name for step in steps] == ["round_0", "round_1"]


@pytest.mark.parametrize(
    ("in_rounds", "in_training", "expected"), [(0.4, 0, 0.4), (0.4, 0.1, 0.4), (0, 0.1, 0.1), (0, 0, 0)]
)
def test_a_round_masks_words_and_no_fewer_than_any_training(in_rounds, in_training, expected):
    steps = two_rounds(f"transfer.masking={in_rounds}", f"batches.masking={in_training}")
    assert [step.config.batches.masking for step in steps] == [expected, expected]


def test_fine_tuning_is_a_step_of_its_own_on_labelled_texts_alone(tmp_path):
    from tagger.learning.self_training import Round, plan_round

    (tmp_path / "train.jsonl").write_text(native.to_native("已标注的", ()) + "\n", "utf-8")
    sources = Sources(tmp_path / "train.jsonl", tmp_path / "dev.jsonl", (tmp_path / "more.txt",))
    chosen = config.load("default", ["transfer.fine_tune_epochs=7", "transfer.weights=[0.1, 0.5]"])
    both, tuned = plan_round(Round(tmp_path, 3), chosen, sources)
    assert (both.sources.predicted, both.sources.weight) == (tmp_path / "round_3.jsonl.gz", 0.5)
    assert (both.bundle.name, tuned.bundle.name) == ("round_3.both", "round_3")
    assert (tuned.sources.predicted, tuned.sources.start) == (None, both.bundle)
    assert (tuned.config.training.epochs, tuned.config.training.learning_rate) == (7, chosen.transfer.fine_tune_rate)
    assert tuned.config.batches == both.config.batches


@pytest.mark.parametrize(
    ("most", "characters", "passes"), [(10, 60_000, 10), (10, 200_000, 5), (10, 2_000_000, 2), (1, 2_000_000, 1)]
)
def test_many_labelled_texts_get_fewer_fine_tuning_passes(tmp_path, most, characters, passes):
    from tagger.learning.self_training import fine_tune_passes

    labelled = tmp_path / "labelled.jsonl"
    labelled.write_text((json.dumps({"text": "x" * 1000, "entities": []}) + "\n") * (characters // 1000), "utf-8")
    assert fine_tune_passes(most, labelled) == passes


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--unlabelled", "nothing.txt"], 1, "nothing.txt: expected a corpus, received no such file"),
        (["--rounds", "0"], 2, "transfer.rounds must be at least 1"),
        (["--set", "transfer.weights=[]"], 2, "transfer.weights must not be empty"),
        (["--set", "transfer.weights=[0.5, -1]"], 2, "transfer.weights must be above 0"),
        (["--set", "transfer.entity_threshold=1.5"], 2, "transfer.entity_threshold must be at least 0 and at most 1"),
        (["--set", "transfer.outside_threshold=1.5"], 2, "transfer.outside_threshold must be at least 0 and at most 1"),
        (["--set", "transfer.select=some"], 2, "must be one of sure, agreed"),
        (["--recipe", "other"], 2, "invalid choice"),
    ],
)
def test_errors_are_one_line(small_corpus, tmp_path, capsys, options, code, message):
    from tagger.cli import main

    arguments = command(small_corpus, tmp_path / "out")[3:] + options
    try:
        received = main(arguments)
    except SystemExit as exit:
        received = exit.code
    assert received == code
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out.transfer").exists()
