import json
import math
import multiprocessing
import os
import pickle
import shutil
import subprocess
import sys

import pytest

from tagger import Tagger, bundle, cli, corpus
from tagger.api import Entities
from tagger.errors import BundleError, ConfigError, OutputError, TaggerError
from tagger.runtime import RUNTIMES
from tests.conftest import GOLDEN_BUNDLE, ROOT, SMALL
from tests.samples import planted

TEXT = "王明先生，汉族，北京大学教授。"


@pytest.fixture(scope="module")
def tagger():
    return Tagger.load(GOLDEN_BUNDLE, workers=2)


@pytest.fixture
def copy(tmp_path):
    return shutil.copytree(GOLDEN_BUNDLE, tmp_path / "bundle")


# ---- what callers pass --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["batch", "stream", "results", "records", "tag"])
def test_a_string_where_texts_are_expected_says_so(tagger, method):
    with pytest.raises(TypeError, match=r"received '王明' \(str\); give \[text\]"):
        list(getattr(tagger, method)("王明"))


@pytest.mark.parametrize("method", ["batch", "stream", "results", "records", "tag"])
@pytest.mark.parametrize("bad", [None, math.nan, 7, b"a", ["a"]])
def test_what_is_no_text_is_named_by_its_place(tagger, method, bad):
    with pytest.raises(TypeError, match=r"texts\[2\]: expected a string, received "):
        list(getattr(tagger, method)(["a", TEXT, bad]))


@pytest.mark.parametrize("method", ["stream", "results"])
def test_a_string_is_refused_before_the_first_result_is_asked_for(tagger, method):
    with pytest.raises(TypeError):
        getattr(tagger, method)("王明")


@pytest.mark.parametrize(("bad", "remedy"), [(None, "leave it out"), (["a"], "batch"), (1.5, "leave it out")])
def test_one_text_is_a_string(tagger, bad, remedy):
    with pytest.raises(TypeError, match=rf"text: expected a string, received .*; .*{remedy}"):
        tagger(bad)


def test_a_batch_takes_any_iterable(tagger):
    texts = [TEXT, "", "好"]
    expected = tagger.batch(texts)
    assert expected[0]
    for given in (iter(texts), (text for text in texts), tuple(texts), dict.fromkeys(texts)):
        assert tagger.batch(given) == expected
    assert tagger.batch(()) == []


# ---- what callers see ---------------------------------------------------------------------------------------------


def test_it_describes_itself(tagger):
    assert repr(tagger) == f"<Tagger {GOLDEN_BUNDLE}; labels LOC, PER; unit char; workers 2; runtime onnx>"
    many = planted(labels=tuple(f"L{number}" for number in range(30)))
    many.__class__ = Tagger
    assert repr(many) == "<Tagger labels L0, L1, L2, L3, L4, L5, L6, L7, ... (30); unit char; workers 1>"


def test_entities_are_a_list_that_a_notebook_shows(tagger):
    entities = tagger(TEXT)
    assert isinstance(entities, list)
    assert entities == tagger.batch([TEXT])[0]
    assert json.loads(json.dumps(entities)) == [list(entity) for entity in entities]
    assert pickle.loads(pickle.dumps(entities)) == entities
    shown = entities._repr_html_()
    assert shown.count("<mark ") == len(entities) > 0
    assert f">{entities[0].text}<span" in shown
    assert Entities([], "<b>&").__class__._repr_html_(Entities([], "<b>&")).count("&lt;b&gt;&amp;") == 1


def test_records_are_rows_of_a_table(tagger):
    texts = ["", TEXT, "好", TEXT]
    rows = list(tagger.records(iter(texts)))
    expected = [(row, *entity) for row, entities in enumerate(tagger.batch(texts)) for entity in entities]
    assert [tuple(row.values()) for row in rows] == expected
    assert list(rows[0]) == ["row", "start", "end", "label", "text", "score"]
    assert all(texts[row["row"]][row["start"] : row["end"]] == row["text"] for row in rows)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_records_make_a_data_frame(tagger, library):
    frames = pytest.importorskip(library)
    frame = frames.DataFrame(list(tagger.records([TEXT, "好"])))
    assert list(frame.columns) == ["row", "start", "end", "label", "text", "score"]


def test_evaluation_takes_a_path_or_documents(tagger, small_corpus):
    scores = tagger.evaluate(small_corpus / "dev.jsonl")
    again = tagger.evaluate(list(corpus.read(small_corpus / "dev.jsonl")))
    assert scores.to_dict() == again.to_dict() == tagger.evaluate(str(small_corpus / "dev.jsonl")).to_dict()
    assert (scores.f1, scores.precision, scores.recall) == tuple(
        scores.to_dict()[k] for k in ("f1", "precision", "recall")
    )
    assert repr(scores).startswith(f"<Scores of 60 texts; all: f1 {scores.f1:.4f}, precision ")


# ---- lines of files -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_of_a_file_are_tagged_as_the_command_tags_them(tagger, tmp_path, capsysbinary, end):
    texts = [TEXT, "", "他叫王明", "北京", " 李红 ", "上海\t", "在北京大学"]
    (tmp_path / "texts.txt").write_bytes((end.join(texts) + end).encode())
    assert cli.main(["predict", str(GOLDEN_BUNDLE), str(tmp_path / "texts.txt")]) == 0
    printed = [json.loads(line)["entities"] for line in capsysbinary.readouterr().out.decode().splitlines()]
    with (tmp_path / "texts.txt").open(encoding="utf-8", newline="") as lines:
        streamed = list(tagger.stream(lines))
    with (tmp_path / "texts.txt").open(encoding="utf-8") as lines:
        assert list(tagger.stream(lines)) == streamed
    assert [[list(entity.values()) for entity in own] for own in printed] == [list(map(list, own)) for own in streamed]
    assert [own for own in streamed if own] != []


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_line_end_is_in_no_entity_and_in_the_text_of_the_result(tagger, end):
    (result,) = tagger.results([TEXT + end], outside=True, certainty=True)
    (bare,) = tagger.results([TEXT], outside=True, certainty=True)
    assert result.text == TEXT + end
    assert (result.entities, result.answer, result.certainty) == (bare.entities, bare.answer, bare.certainty)
    assert len(result.outside) == len(TEXT + end)
    assert (result.outside[len(TEXT) :] == 1).all()
    assert tagger(TEXT + end) == tagger(TEXT)


# ---- slow sources -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
def test_texts_that_come_slowly_are_tagged_while_they_come(workers):
    def source():
        yield TEXT
        released.wait(60)
        yield "好"

    released = multiprocessing.Event()
    streamed = Tagger.load(GOLDEN_BUNDLE, workers=workers).stream(source(), wait=0.05)
    assert next(streamed) == Tagger.load(GOLDEN_BUNDLE)(TEXT)
    released.set()
    assert list(streamed) == [[]]


def test_the_command_answers_lines_while_they_come():
    command = [sys.executable, "-m", "tagger", "predict", GOLDEN_BUNDLE, "-"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, cwd=ROOT, **pipes) as process:
        for text in (TEXT, "李红女士，回族。"):
            process.stdin.write(f"{text}\n".encode())
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["text"] == text
        process.stdin.close()
        assert process.wait(60) == 0


# ---- other processes ----------------------------------------------------------------------------------------------


def test_a_pickled_tagger_is_loaded_from_its_bundle(copy, tmp_path):
    (tmp_path / "names.tsv").write_text("教授\tPER\n", "utf-8")
    for tagger in (Tagger.load(copy, "int8", 3), Tagger.load(copy, gazetteer=tmp_path / "names.tsv")):
        content = pickle.dumps(tagger)
        assert len(content) < 1000
        again = pickle.loads(content)
        assert (again(TEXT), again.workers, repr(again)) == (tagger(TEXT), tagger.workers, repr(tagger))


def test_a_changed_bundle_or_gazetteer_is_refused(copy, tmp_path):
    names = tmp_path / "names.tsv"
    names.write_text("教授\tPER\n", "utf-8")
    plain, with_names = pickle.dumps(Tagger.load(copy)), pickle.dumps(Tagger.load(copy, gazetteer=names))
    names.write_text("先生\tPER\n", "utf-8")
    with pytest.raises(BundleError, match=r"names.tsv: changed since the Tagger was pickled"):
        pickle.loads(with_names)
    bundle.keep_gazetteer(copy, None)
    with pytest.raises(BundleError, match="bundle: changed since"):
        pickle.loads(plain)
    shutil.rmtree(copy)
    with pytest.raises(BundleError, match="not a bundle"):
        pickle.loads(plain)


def test_a_tagger_from_no_bundle_cannot_be_pickled():
    tagger = planted()
    tagger.__class__ = Tagger
    with pytest.raises(TypeError, match=r"cannot be pickled; load it with Tagger\.load"):
        pickle.dumps(tagger)


def work(tagger, text):
    return tagger(text)


def test_a_spawned_process_gets_a_tagger(tagger):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(work, (tagger, TEXT)) == tagger(TEXT)


FORKED = """
import os, sys
from tagger import Tagger
tagger = Tagger.load(sys.argv[1], sys.argv[2], workers=2)
stream = tagger.stream(["好"] * 5000)
expected, _ = tagger(sys.argv[3]), next(stream)
child = os.fork()
try:
    print(tagger(sys.argv[3]) == expected, len(list(tagger.stream([sys.argv[3]] * 3000))), flush=True)
except Exception as error:
    print(error, flush=True)
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize(
    "runtime", [name if name != "keras" else pytest.param(name, marks=pytest.mark.train) for name in RUNTIMES]
)
def test_a_forked_process_answers_or_says_why_not(runtime):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", FORKED, GOLDEN_BUNDLE, runtime, TEXT]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    lines = sorted(done.stdout.splitlines())
    assert lines[0] == "True 3000"
    assert lines[1].startswith(
        "True 3000" if runtime != "keras" else "runtime keras: expected the process that loaded it"
    )


# ---- training -----------------------------------------------------------------------------------------------------


@pytest.mark.train
def test_training_returns_the_tagger_that_it_wrote(small_corpus, tmp_path):
    settings = dict(setting.split("=") for setting in SMALL if "layers" not in setting and "norm" not in setting)
    settings = {name: json.loads(value) for name, value in settings.items()} | {
        "training.epochs": 2,
        "model.layers": [8],
    }
    files, out = (small_corpus / "train.jsonl", small_corpus / "dev.jsonl"), tmp_path / "new"
    tagger = Tagger.train(*files, out, unlabelled=[small_corpus / "more.txt"], settings=settings)
    assert tagger.config.training.epochs == 2
    assert tagger.config.model.layers == (8,)
    assert pickle.loads(pickle.dumps(tagger)).labels == tagger.labels
    with pytest.raises(OutputError, match="exists"):
        Tagger.train(*files, out, settings=settings)
    once = {**settings, "training.epochs": 1}
    with pytest.raises(OutputError, match="is read by this command"):
        Tagger.train(*files, out, start=out, settings=once, replace=True)
    again = Tagger.train(*files, tmp_path / "again", start=out, settings=once)
    assert again.config.training.epochs == 1
    assert again.evaluate(files[1]).texts == 60


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"training.epoch": 3}, r"settings: training.epoch does not exist; did you mean 'epochs'"),
        ({"training.epochs": "many"}, "settings: training.epochs"),
        ({"epochs": 3}, "epochs"),
        ({"training.dropout_": 3}, "does not exist"),
        ({"text.overlap": 100, "text.maxlen": 100}, "text.overlap"),
    ],
)
def test_settings_are_checked_before_anything_else(settings, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        Tagger.train("no.jsonl", "no.jsonl", tmp_path / "out", settings=settings)
    assert list(tmp_path.iterdir()) == []


def test_errors_of_callers_are_of_one_tree():
    assert issubclass(BundleError, TaggerError)
