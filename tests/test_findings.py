import gzip
import json
import os
import re
import tracemalloc

import pytest

from tagger import corpus
from tagger.analysis import ERRORS, Analysis, errors_of
from tagger.bundle import Identity
from tagger.cli import main
from tagger.documents import Document, Entity, Span, origin
from tagger.findings import LONGEST, finding
from tagger.reports.provenance import provenance, provenance_line
from tagger.reports.suspects import form, of_evaluation
from tests.conftest import ROOT
from tests.samples import planted

BUNDLE = ROOT / "tests" / "golden" / "bundles" / "format-3"  # PER, LOC, ORG


def lines(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def write(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


# ---- places -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("place", "extra", "expected"),
    [
        ("train.jsonl:812", {}, {"file": "train.jsonl", "line": 812}),
        ("a b (2):c.jsonl:812 (id 7)", {"id": 7}, {"file": "a b (2):c.jsonl", "line": 812, "id": 7}),
        ("x.json:3 (item 3, id a)b)", {"id": "a)b"}, {"file": "x.json", "line": 3, "item": 3, "id": "a)b"}),
        ("x.json:1 (item 3)", {}, {"file": "x.json", "line": 1, "item": 3}),
        ("x.parquet (row 5)", {}, {"file": "x.parquet", "row": 5}),
        ("folder/1.txt", {}, {"file": "folder/1.txt"}),
        ("", {"id": 0}, {"id": 0}),
    ],
)
def test_a_place_is_taken_apart(place, extra, expected):
    assert origin(Document("好", extra=extra, place=place)) == expected


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.jsonl", '\n{"id": 5, "text": "李明", "entities": []}', {"line": 2, "id": 5}),
        ("a.conll", "\n\n李\tB-PER\n明\tI-PER\n", {"line": 3}),
        ("a.txt", "[李明]{PER}\n[王芳]{PER}", {"line": 1}),
        ("a.csv", 'no,text,entities\n1,"李明",""\n', {"line": 2}),
        ("a.json", '[\n{"id": 4, "data": {"text": "李明"}, "annotations": []}]', {"line": 2, "item": 1, "id": 4}),
    ],
)
def test_every_reader_says_where_a_document_is(tmp_path, name, content, expected):
    path = tmp_path / name
    path.write_text(content, "utf-8")
    assert origin(next(iter(corpus.read(path)))) == {"file": str(path), **expected}


def test_a_finding_in_a_long_text_has_the_part_around_it():
    text = "一" * LONGEST + "李明" + "二" * LONGEST
    short = finding("cut", Document(text), LONGEST, LONGEST + 2, "PER")
    start = short["start"] - short["text_start"]
    assert short["text"][start : start + 2] == short["mention"] == "李明"
    assert len(finding("empty", Document(text))["text"]) <= LONGEST
    assert "text_start" not in finding("empty", Document("好"))


# ---- inspect ------------------------------------------------------------------------------------------------------
DOCCANO = [
    {"id": 1, "text": "李明在北京大学读书。", "label": [[0, 2, "PER"], [3, 7, "ORG"]], "who": "甲"},
    {"id": 2, "text": "他在北京大学。", "label": [[2, 6, "ORG"]], "who": "乙"},
    {"id": 3, "text": "北京大学很大。", "label": [[0, 4, "LOC"]], "who": "乙"},
    {"id": 4, "text": "去北京大学。", "label": [], "who": "乙"},
    {"id": 5, "text": "王芳 来了。", "label": [[0, 3, "PER"]], "who": "甲"},
    {"id": 6, "text": "李明。", "label": [[0, 2, "PER"]], "who": "甲"},
]


def test_inspect_writes_every_finding_and_the_suspicious_records(tmp_path, capsys):
    source = write(tmp_path / "a.jsonl", DOCCANO)
    out, suspects = tmp_path / "findings.jsonl", tmp_path / "again.jsonl"
    assert main(["inspect", str(source), "--out", str(out), "--suspects", str(suspects)]) == 0
    printed = capsys.readouterr()
    found = [(one["kind"], one["line"], one["id"], one.get("mention")) for one in lines(out)]
    assert found == [
        ("labels", 3, 3, "北京大学"),
        ("empty", 4, 4, None),
        ("unmarked", 4, 4, "北京大学"),
        ("edge", 5, 5, "王芳 "),
    ]
    assert all(one["file"] == str(source) for one in lines(out))
    for one in lines(out):
        assert "start" not in one or one["text"][one["start"] : one["end"]] == one["mention"]
    again = lines(suspects)
    assert [{key: row[key] for key in DOCCANO[0]} for row in again] == DOCCANO[2:5]
    assert all(row["suspect"] for row in again)
    assert "3 suspicious texts, as doccano" in printed.err
    assert f"{source}:5 (id 5): entities with white space" in printed.out
    assert list(corpus.read(suspects)) == list(corpus.read(source))[2:5]


def test_findings_are_as_many_as_are_counted(tmp_path, capsys):
    rows = [{"text": f"第{n}\u200b篇\x00"} for n in range(50)] * 2
    source, out = write(tmp_path / "a.jsonl", rows), tmp_path / "f.jsonl"
    assert main(["inspect", str(source), "--out", str(out), "--json"]) == 0
    (split,) = json.loads(capsys.readouterr().out)["splits"]
    kinds = [one["kind"] for one in lines(out)]
    assert {kind: of["count"] for kind, of in split["findings"].items() if of["count"]} == {
        kind: kinds.count(kind) for kind in set(kinds)
    }


# ---- evaluate -----------------------------------------------------------------------------------------------------
def test_evaluate_writes_every_error_and_the_doubtful_records(tmp_path, capsys):
    source = write(tmp_path / "a.jsonl", DOCCANO)
    out, suspects = tmp_path / "errors.jsonl.gz", tmp_path / "again.json"
    arguments = ["evaluate", str(BUNDLE), str(source), "--json", "--out", str(out), "--suspects", str(suspects)]
    assert main([*arguments, "--suspects-above", "0", "--suspects-format", "labelstudio"]) == 0
    report = json.loads(capsys.readouterr().out)
    errors = [json.loads(line) for line in gzip.decompress(out.read_bytes()).decode().splitlines()]
    assert errors
    assert {kind: [one["kind"] for one in errors].count(kind) for kind in ERRORS} == report["errors"]
    assert all(one["id"] == one["line"] for one in errors)
    assert {text["id"] for text in report["worst"]} == {one["id"] for one in errors}
    tasks = json.loads(suspects.read_text("utf-8"))
    for task in tasks:
        row = DOCCANO[task["id"] - 1]
        gold = [result["value"] for result in task["annotations"][0]["result"]]
        assert [[value["start"], value["end"], *value["labels"]] for value in gold] == row["label"]
        assert task["predictions"][0]["result"]
        assert task["data"]["who"] == row["who"]
    assert [task["id"] for task in tasks] == sorted({one["id"] for one in errors if one["predicted"]})


def test_errors_say_what_is_expected_and_what_was_predicted():
    document = Document("李明在北京", (Span(0, 2, "PER"), Span(3, 5, "LOC")), place="a:1")
    predicted = [Entity(0, 2, "ORG", "李明", 0.9), Entity(2, 3, "LOC", "在", 0.4)]
    kinds = {one["kind"]: one for one in errors_of(document, predicted)}
    assert list(kinds) == ["type", "missed", "spurious"]
    assert kinds["type"]["gold"] == {"start": 0, "end": 2, "label": "PER", "text": "李明"}
    assert (kinds["type"]["label"], kinds["type"]["score"]) == ("ORG", 0.9)
    assert (kinds["missed"]["label"], kinds["missed"]["predicted"]) == ("LOC", None)
    assert "score" not in kinds["missed"]
    assert kinds["spurious"]["gold"] is None


def doubtful(scores):
    for number, score in enumerate(scores):
        predicted = (Entity(0, 1, "PER", "好", score),)
        document = Document("好", place=f"a:{number + 1}", predicted=predicted)
        yield document, list(errors_of(document, predicted))


@pytest.mark.parametrize(
    ("options", "expected"),
    [((0.5,), [2, 3, 4]), ((0.75,), [2, 4]), ((0.5, 2), [4, 2]), ((0.0, 9), [4, 2, 3, 1]), ((1.0,), [])],
)
def test_the_doubtful_records_are_those_of_the_corpus_or_the_first_of_all(options, expected):
    chosen = of_evaluation(doubtful([0.1, 0.8, 0.6, 0.9]), *options)
    assert [origin(document)["line"] for document in chosen] == expected


def test_what_nobody_annotated_is_not_scored():
    scores = Analysis()
    scores.add(Document("李明", unlabelled=((0, 2),)), [Entity(0, 2, "PER", "李明", 0.9)])
    assert (scores.texts, scores.overall.predicted) == (0, 0)


@pytest.mark.parametrize(
    ("out", "source", "expected"),
    [
        ("a.jsonl", "doccano", "doccano"),
        ("a.json", "labelstudio", "labelstudio"),
        ("a.jsonl", "bio", "jsonl"),
        ("a.txt", "bio", "bio"),
        ("a.bmes", "doccano", "bmes"),
        ("a.csv.gz", "jsonl", "csv"),
        ("a", "brat", "brat"),
        ("a", "uie", "jsonl"),
        ("a", "plain", "jsonl"),
        ("a", "", "jsonl"),
    ],
)
def test_suspicious_records_have_the_form_of_the_corpus(out, source, expected):
    assert form(out, source) == expected


@pytest.mark.parametrize("command", [["inspect"], ["evaluate", str(BUNDLE)]])
@pytest.mark.parametrize("option", ["--out", "--suspects", "--html"])
def test_nothing_is_overwritten(tmp_path, capsys, command, option):
    source = write(tmp_path / "a.jsonl", DOCCANO)
    (tmp_path / "b").write_text("mine", "utf-8")
    assert main([*command, str(source), option, str(tmp_path / "b")]) == 1
    assert "b: exists already" in capsys.readouterr().err
    assert (tmp_path / "b").read_text("utf-8") == "mine"
    assert main([*command, str(source), option, str(tmp_path / "b"), "--force"]) == 0


@pytest.mark.parametrize("option", ["--out", "--suspects"])
def test_an_input_is_no_output(tmp_path, capsys, option):
    source = write(tmp_path / "a.jsonl", DOCCANO)
    before = source.read_bytes()
    assert main(["inspect", str(source), option, str(source), "--force"]) == 1
    assert "is read by this command" in capsys.readouterr().err
    assert source.read_bytes() == before


@pytest.mark.parametrize("command", [["inspect"], ["evaluate", str(BUNDLE)]])
@pytest.mark.parametrize("other", ["x", "../t/x", "soft", "hard"])
@pytest.mark.parametrize("pair", [("--out", "--suspects"), ("--html", "--out"), ("--suspects", "--html")])
def test_two_outputs_are_two_files(tmp_path, capsys, command, other, pair):
    folder = tmp_path / "t"
    folder.mkdir()
    source = write(tmp_path / "a.jsonl", DOCCANO)
    if other == "hard":
        (folder / "x").write_text("mine", "utf-8")
        (folder / "hard").hardlink_to(folder / "x")
    (folder / "soft").symlink_to("x")
    paths = [pair[0], str(folder / "x"), pair[1], str(folder / other)]
    assert main([*command, str(source), *paths, "--force"]) == 1
    err = capsys.readouterr().err
    assert ("would both be written there; choose different files" in err, err.count("\n")) == (True, 1)
    assert (folder / "x").exists() == (other == "hard")


def test_a_device_takes_several_outputs(tmp_path):
    source = write(tmp_path / "a.jsonl", DOCCANO)
    assert main(["inspect", str(source), "--out", os.devnull, "--suspects", os.devnull]) == 0


def test_a_bundle_has_no_findings(tmp_path, capsys):
    assert main(["inspect", str(BUNDLE), "--out", str(tmp_path / "f")]) == 2
    assert "a bundle has no findings" in capsys.readouterr().err


def test_memory_does_not_hold_the_findings(tmp_path):
    peaks = []
    for copies in (400, 1600):  # both beyond what is looked at to tell the form
        rows = [{"text": f"{n}\u200b", "note": "x" * 3000} for n in range(copies)]
        source = write(tmp_path / f"{copies}.jsonl", rows)
        for measured in (False, True):
            if measured:
                tracemalloc.start()
            arguments = ["--out", str(tmp_path / "f.jsonl"), "--suspects", str(tmp_path / "s.jsonl"), "--force"]
            assert main(["inspect", str(source), *arguments]) == 0
            if measured:
                peaks.append(tracemalloc.get_traced_memory()[1])
                tracemalloc.stop()
    assert peaks[1] - peaks[0] < 1200 * 400


# ---- what a report is about -----------------------------------------------------------------------------------------
def test_a_report_says_which_tagger_which_file_and_when(tmp_path, capsys):
    source, page = write(tmp_path / "a.jsonl", DOCCANO), tmp_path / "page.html"
    assert main(["evaluate", str(BUNDLE), str(source), "--html", str(page)]) == 0
    line = capsys.readouterr().out.splitlines()[0]
    assert re.search(r"format-3 \([0-9a-f]{12}, tagger 0\.\d.*a\.jsonl \([0-9a-f]{12}, 6 texts\).*--runtime onnx", line)
    assert re.search(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00 · tagger \d", line)
    assert f"{source} (" in page.read_text("utf-8")
    assert main(["evaluate", str(BUNDLE), str(source), "--json"]) == 0
    about = json.loads(capsys.readouterr().out)["about"]
    assert list(about) == ["time", "tagger", "bundle", "files", "options"]
    assert len(about["bundle"]["sha256"]) == len(about["files"][0]["sha256"]) == 64
    assert about["options"] == {"runtime": "onnx"}


def test_a_stream_has_no_hash(tmp_path):
    identity = Identity("b", "0" * 64, "2026-01-01T00:00:00+00:00", "0.2.0")
    about = provenance([(tmp_path, 5)], {"set": ["a=1", "b=2"], "train": None}, identity, "x/b")
    assert about["files"] == [{"file": str(tmp_path), "sha256": "", "texts": 5}]
    assert provenance_line(about).startswith(
        f"x/b (000000000000, trained 2026-01-01T00:00:00+00:00, tagger 0.2.0) · {tmp_path} (5 texts) · --set a=1 b=2 · "
    )


def test_what_is_predicted_where_nobody_annotated_is_no_error():
    from tagger.commands.tagging import _errors

    scores = Analysis()
    document = Document("龘和龘", (Span(0, 1, "CORE"),), unlabelled=((1, 3),))
    ((_, errors),) = _errors(planted(), iter([document]), scores)
    assert (errors, scores.f1) == ([], 1.0)
