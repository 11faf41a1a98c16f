"""Redaction: rules and their check digits, replacements, what moves along, and the way back."""

import functools
import io
import json
import random
import shutil
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagger import corpus
from tagger.calibration import Thresholds
from tagger.cli import main
from tagger.documents import Document, Entity, Span, labelled
from tagger.errors import CorpusError, RedactionError
from tagger.redaction import REPLACEMENTS, Redactor
from tagger.redaction.lists import Lists
from tagger.redaction.numbers import (
    credit_check,
    identity_check,
    is_card_number,
    is_credit_code,
    is_identity_number,
    luhn_check,
)
from tagger.redaction.rules import matches
from tagger.redaction.stand_ins import STAND_INS, stand_in
from tagger.redaction.way_back import edits, restore, write_map
from tests.conftest import ROOT
from tests.samples import few, planted

GOLDEN = ROOT / "tests" / "golden"

# Text with what rules must find in it, under which name.
CASES = [
    line.split("|")
    for line in (ROOT / "tests" / "redaction_cases.txt").read_text("utf-8").splitlines()
    if not line.startswith("#")
]


@pytest.mark.parametrize("row", CASES, ids=lambda row: row[0])
def test_rules_find_what_they_must_and_leave_look_alikes(row):
    text, *expected = row
    changes = Redactor(None).redact(Document(text), ()).changes
    assert [f"{change.text} {change.label}" for change in changes] == expected


def identity_number(draw):
    number = (
        draw.choice(("110105", "440304", "650102"))
        + draw.choice(("19491231", "20000229"))
        + f"{draw.randrange(1000):03}"
    )
    return number + identity_check(number)


def card_number(draw):
    number = "62" + "".join(draw.choices(string.digits, k=draw.choice((13, 14, 16))))
    return number + luhn_check(number)


def organisation_code(draw):
    code = (
        "91" + "".join(draw.choices(string.digits, k=6)) + "".join(draw.choices("0123456789ABCDEFGHJKLMNPQRTUWXY", k=9))
    )
    return code + credit_check(code)


NUMBERS = {"ID_CARD": identity_number, "BANK_CARD": card_number, "CREDIT_CODE": organisation_code}


@pytest.mark.parametrize("label", NUMBERS)
def test_every_valid_number_is_found_and_no_look_alike(label):
    draw = random.Random(label)
    for _ in range(300):
        number = NUMBERS[label](draw)
        assert [text[start:end] for text in [f"号{number}。"] for start, end, _ in matches(text, [label])] == [number]
        wrong = number[:-1] + draw.choice([digit for digit in string.digits if digit != number[-1]])
        longer = [number + draw.choice(string.digits), draw.choice("123456789") + number]
        for text in (wrong, *longer):
            if not is_card_number(text):  # as a longer one may be
                assert list(matches(f"号{text}。", [label])) == []


def test_check_digits():
    assert is_identity_number("11010519491231002X")  # the standard's own example
    assert not is_identity_number("11010519490231002X")
    assert is_card_number("4111111111111111")
    assert is_credit_code("91350100M000100Y43")
    assert luhn_check("7992739871") == "3"


# ---- replacing ---------------------------------------------------------------------------------------------------
def entities(text, *mentions, score=0.9):
    return [
        Entity(text.index(mention), text.index(mention) + len(mention), label, mention, score)
        for mention, label in mentions
    ]


def test_mentions_are_replaced_everywhere_and_numbered():
    text = "王小明和李雷，王小明又来了。"
    redacted = Redactor(None).redact(Document(text), entities(text, ("王小明", "PER"), ("李雷", "PER")))
    assert redacted.document.text == "[PER_1]和[PER_2]，[PER_1]又来了。"
    assert [change[:3] for change in redacted.changes] == [(0, 3, "PER"), (4, 6, "PER"), (7, 10, "PER")]


def test_stretches_that_overlap_become_one():
    text = "住在北京市海淀区学院路15号，北京市海淀区学院路15号。"
    place = Entity(2, 8, "LOC", "北京市海淀区", 0.9)
    redacted = Redactor(None).redact(Document(text), [place])
    assert redacted.document.text == "住在[ADDRESS_1]，[ADDRESS_1]。"


def test_masks_and_stand_ins_keep_the_length():
    text = "王小明的电话是13812345678，住在苏州。"
    found = entities(text, ("王小明", "PER"), ("苏州", "LOC"))
    masked = Redactor(None, "mask").redact(Document(text), found).document.text
    assert masked == "***的电话是***********，住在**。"
    replaced = Redactor(None, "stand-in").redact(Document(text), found).document.text
    assert len(replaced) == len(text)
    assert replaced[3:7] == "的电话是"
    assert not any(mention in replaced for mention in ("王小明", "13812345678", "苏州"))


def test_a_key_makes_replacements_the_same_in_all_texts():
    def replacement(text, by, key):
        redactor = Redactor(None, by, lists=Lists(key=key))
        return redactor.redact(Document(text), entities(text, ("王小明", "PER"))).replacements[0]

    for by in ("label", "stand-in"):
        assert replacement("王小明来了", by, b"k") == replacement("是王小明", by, b"k")
        assert replacement("王小明来了", by, b"k") != replacement("王小明来了", by, b"other")


def test_lists_and_thresholds():
    text = "王小明在东湖用天眼"
    found = entities(text, ("王小明", "PER"), score=0.4) + entities(text, ("东湖", "LOC"))
    redactor = Redactor(None, thresholds=Thresholds(0.5), lists=Lists({"天眼": "PROJECT"}, frozenset({"东湖"})))
    redacted = redactor.redact(Document(text), found)
    assert redacted.document.text == "王小明在东湖用[PROJECT_1]"
    assert [entity.text for entity in redacted.unsure] == ["王小明"]
    redacted = Redactor(None, labels=frozenset({"PER"})).redact(Document("王小明 13812345678"), found[:1])
    assert redacted.document.text == "[PER_1] 13812345678"


def test_annotations_and_records_move_along():
    text = "今天王小明在北京大学见了王小明的老师"
    document = labelled(
        text, [Span(2, 5, "PER"), Span(6, 10, "ORG"), Span(12, 15, "PER")],
        extra={"id": 7, "meta": {"author": "王小明", "tags": ["王小明的", 3]}},
    )  # fmt: skip
    moved = Redactor(None).redact(document, entities(text, ("王小明", "PER"))).document
    assert moved.text == "今天[PER_1]在北京大学见了[PER_1]的老师"
    assert [moved.text[start:end] for start, end, _ in moved.entities] == ["[PER_1]", "北京大学", "[PER_1]"]
    assert moved.answers == ("[PER_1]", "北京大学")
    assert moved.extra == {"id": 7, "meta": {"author": "[PER_1]", "tags": ["[PER_1]的", 3]}}


def test_rules_read_the_whole_record_and_replace_in_numbers_too():
    record = {
        "id": "13812345678",
        "phone": "13900000001",
        "mobile": 13812345678,
        "more": 13900000001,
        "note": ["王小明，a@b.cn"],
        "n": 1.5,
    }
    text = "王小明 13812345678"
    redacted = Redactor(None).redact(Document(text, extra=record), entities(text, ("王小明", "PER")))
    assert redacted.document.extra == {
        "id": "[PHONE_1]", "phone": "[PHONE_2]", "mobile": "[PHONE_1]", "more": "[PHONE_2]",
        "note": ["[PER_1]，[EMAIL_1]"], "n": 1.5,
    }  # fmt: skip
    assert redacted.elsewhere == (("[PHONE_2]", "PHONE"), ("[EMAIL_1]", "EMAIL"))
    with pytest.raises(CorpusError, match="flatten it"):
        Redactor(None).redact(Document("", extra={"a": functools.reduce(lambda inner, _: [inner], range(5000), 1)}), ())
    alone = Document("无", extra={"id": "13812345678"})
    assert Redactor(None).redact(alone, ()).document.extra == alone.extra


def test_answers_without_their_blanks_are_replaced_too():
    document = Document("我是 王 小明", answers=("王小明", "小"))
    redacted = Redactor(None).redact(document, [Entity(3, 7, "PER", "王 小明", 1.0)])
    assert redacted.document.answers == ("[PER_1]", "小")


def test_what_is_annotated_is_replaced_if_the_tagger_has_its_label():
    text = "老马在武大看病"
    document = Document(text, (Span(0, 2, "PER"), Span(3, 5, "ORG"), Span(6, 7, "X")))
    tagger = planted(labels=("PER", "ORG"))
    assert Redactor(tagger).redact(document, ()).document.text == "[PER_1]在[ORG_1]看病"
    assert Redactor(None).redact(document, ()).document.text == text
    assert Redactor(None, labels=frozenset({"X"})).redact(document, ()).document.text == "老马在武大看[X_1]"


def test_tokens_and_blanks_do_not_give_away_what_was_replaced():
    record = {
        "tokens": [{"text": "王", "id": 0}, {"text": "小明", "id": 1}, {"text": "来", "id": 2}],
        "cut": "王 小明 来了", "words": [["王"], ["小", "明来"]], "names": ["王小明", "来"],
        "more": {"chars": [*"王小明"]},
    }  # fmt: skip
    redacted = Redactor(None).redact(Document("王小明来", extra=record), [Entity(0, 3, "PER", "王小明", 1.0)])
    assert redacted.document.extra == {"cut": "[PER_1] 来了", "names": ["[PER_1]", "来"], "more": {}}
    assert redacted.left_out == 3


def test_a_single_character_is_replaced_where_it_was_found_and_before_the_same_character():
    text = "李先生的行李，李先生和李总。"
    redacted = Redactor(None).redact(Document(text, extra={"a": "李", "b": "行李"}), [Entity(0, 1, "PER", "李", 1.0)])
    assert redacted.document.text == "[PER_1]先生的行李，[PER_1]先生和李总。"
    assert redacted.document.extra == {"a": "[PER_1]", "b": "行李"}


def test_numbers_with_a_wrong_check_digit_are_to_be_reviewed():
    text = "身份证110105194912310021，卡4111111111111112，卡4111111111111111"
    redacted = Redactor(None).redact(Document(text), ())
    assert [(entity.label, entity.score) for entity in redacted.unsure] == [("ID_CARD", 0), ("BANK_CARD", 0)]
    assert [change.label for change in redacted.changes] == ["BANK_CARD"]


def test_an_annotation_that_a_change_cuts_is_widened():
    text = "北京大学王明"
    document = Document(text, (Span(0, 5, "A"), Span(5, 6, "B")), scores=(1.0, 0.5))
    moved = Redactor(None).redact(document, [Entity(4, 6, "PER", "王明", 1.0)]).document
    assert moved.entities == (Span(0, 11, "A"),)
    assert moved.scores == ()


@given(st.data())
@few
def test_nothing_of_what_was_replaced_is_left(data):
    text = data.draw(st.text("王小明李a1，[P", min_size=1, max_size=30))
    starts = data.draw(st.lists(st.integers(0, len(text) - 1), max_size=4))
    found = [Entity(at, min(at + 2, len(text)), "PER", text[at : at + 2], 0.9) for at in starts]
    by = data.draw(st.sampled_from(sorted(REPLACEMENTS)))
    redacted = Redactor(None, by).redact(Document(text), found)
    parts, at = [], 0
    for change, new in zip(redacted.changes, redacted.replacements, strict=True):
        assert change.start >= at
        assert text[change.start : change.end] == change.text
        parts.append(text[at : change.start])
        at = change.end
        assert by == "label" or len(new) == len(change.text)
    assert not any(change.text in part for change in redacted.changes for part in [*parts, text[at:]])


@given(st.sampled_from(["PER", "LOC", "ORG", "ADDRESS", "EMAIL", "URL", "BIRTH_DATE", "MONEY", "own"]), st.text())
@few
def test_stand_ins_have_the_length_of_any_mention(label, mention):
    assert len(stand_in(label, mention, random.Random(1))) == len(mention)


@pytest.mark.parametrize("row", [row for row in CASES if len(row) > 1], ids=lambda row: row[0])
def test_stand_ins_are_of_the_same_kind(row):
    text, *expected = row
    for mention, label in (line.rsplit(" ", 1) for line in expected):
        made = stand_in(label, mention, random.Random(mention))
        assert made != mention
        assert len(made) == len(mention)
        changed = text.replace(mention, made)
        if label not in ("ADDRESS", "IP"):  # whose names are made up, or out of range
            assert made in [changed[start:end] for start, end, _ in matches(changed, [label])]


def test_many_stand_ins_are_made_of_which_none_is_a_mention():
    text = "".join(f"甲{number:05}。" for number in range(2000))
    found = [Entity(at, at + 6, "own", text[at : at + 6], 1.0) for at in range(0, len(text), 7)]
    made = Redactor(None, "stand-in").redact(Document(text), found).replacements
    assert len({*made, *(entity.text for entity in found)}) == 4000


# ---- the way back -------------------------------------------------------------------------------------------------
@pytest.fixture
def bundle_of_planted(monkeypatch):
    monkeypatch.setattr("tagger.commands.redaction.load_tagger", lambda options: planted(labels=("PER",)))
    monkeypatch.setenv("TAGGER_PASSPHRASE", "正确的马")


def redact(*arguments):
    return main(["redact", *map(str, arguments)])


FILES = sorted(
    file.name
    for file in GOLDEN.iterdir()
    if file.is_file() and file.suffix not in (".md", ".py") and "uie" not in file.name
)


@pytest.mark.parametrize("name", FILES)
def test_every_format_comes_back_byte_for_byte(bundle_of_planted, tmp_path, name):
    original = tmp_path / name
    content = (GOLDEN / name).read_bytes().replace("佐藤".encode(), "龘藤".encode())
    original.write_bytes(content.replace(b"\n", b"\r\n") if name == "plain.txt" else content)
    out, back, way = tmp_path / f"out.{name}", tmp_path / f"back.{name}", tmp_path / "map"
    assert redact("bundle", original, "--out", out, "--map", way) == 0
    assert "龘".encode() not in out.read_bytes()
    list(corpus.read(out))
    assert redact("--undo", out, "--map", way, "--out", back) == 0
    assert back.read_bytes() == original.read_bytes()


@pytest.mark.parametrize("name", ["brat", "brat.zip"])
def test_a_folder_comes_back_byte_for_byte(bundle_of_planted, tmp_path, name):
    original = tmp_path / name
    shutil.copytree(GOLDEN / "brat", tmp_path / "brat")
    (tmp_path / "brat" / "sub").mkdir()
    (tmp_path / "brat" / "sub" / "a.txt").write_text("龘\r\n", "utf-8", newline="")
    if name == "brat.zip":
        shutil.make_archive(str(tmp_path / "brat"), "zip", tmp_path / "brat")
    assert redact("bundle", original, "--out", tmp_path / "out", "--map", tmp_path / "map") == 0
    assert not any("龘" in file.read_text("utf-8") for file in (tmp_path / "out").glob("[!.]*"))
    assert redact("--undo", tmp_path / "out", "--map", tmp_path / "map", "--out", tmp_path / "back") == 0
    pairs = [(tmp_path / "back", original)] if original.is_file() else zip(
        *(sorted(file for file in folder.rglob("[!.]*") if file.is_file()) for folder in (tmp_path / "back", original)),
        strict=True,
    )  # fmt: skip
    assert all(back.read_bytes() == before.read_bytes() for back, before in pairs)
    (tmp_path / "out" / "00000001.txt").write_text("x", "utf-8")
    assert redact("--undo", tmp_path / "out", "--map", tmp_path / "map", "--out", tmp_path / "again") == 1


def test_a_map_that_cannot_be_written_leaves_no_output(bundle_of_planted, tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("龘\n", "utf-8")

    def fail(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tagger.redaction.way_back.write_map", fail)
    assert redact("bundle", tmp_path / "a.txt", "--out", tmp_path / "b.txt", "--map", tmp_path / "m") == 1
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def test_standard_input_is_read_in_its_encoding_and_restored(tmp_path, monkeypatch):
    content = "王电话13812345678\r\n".encode("gb18030")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
    monkeypatch.setenv("TAGGER_PASSPHRASE", "p\udcff")  # bytes that are not UTF-8
    out, way = tmp_path / "b.txt", tmp_path / "m"
    assert redact("--rules-only", "-", "--encoding", "gb18030", "--out", out, "--map", way) == 0
    assert out.read_text("utf-8").strip() == "王电话[PHONE_1]"
    assert redact("--undo", out, "--map", way, "--out", tmp_path / "c.txt") == 0
    assert (tmp_path / "c.txt").read_bytes() == content


def test_labels_that_stood_there_before_survive(bundle_of_planted, tmp_path):
    (tmp_path / "a.txt").write_text("[PER_1]不是龘\n\n龘\n", "utf-8")
    assert redact("bundle", tmp_path / "a.txt", "--out", tmp_path / "b.txt", "--map", tmp_path / "m") == 0
    assert (tmp_path / "b.txt").read_text("utf-8") == "[PER_1]不是[PER_1]\n\n[PER_1]\n"
    assert redact("--undo", tmp_path / "b.txt", "--map", tmp_path / "m", "--out", tmp_path / "c.txt") == 0
    assert (tmp_path / "c.txt").read_bytes() == (tmp_path / "a.txt").read_bytes()


@given(st.binary(max_size=200), st.binary(max_size=200))
@few
def test_any_file_leads_back_to_any_other(tmp_path_factory, original, redacted):
    folder = tmp_path_factory.mktemp("way")
    (folder / "a").write_bytes(original)
    (folder / "b").write_bytes(redacted)
    parts, at = [], 0
    for edit in edits(folder / "a", folder / "b"):
        parts += [redacted[at : edit.start], edit.original]
        at = edit.start + edit.length
    assert b"".join([*parts, redacted[at:]]) == original


def test_a_map_is_secret_whole_and_its_own(tmp_path):
    for name, content in {"a": "龘是谁\n" * 30_000, "b": "[PER_1]是谁\n" * 30_000, "other": "x"}.items():
        (tmp_path / name).write_text(content, "utf-8")
    write_map(tmp_path / "a", tmp_path / "b", tmp_path / "m", "p")
    whole = (tmp_path / "m").read_bytes()
    assert "龘".encode() not in whole
    out = tmp_path / "out"
    with pytest.raises(RedactionError, match="passphrase"):
        restore(tmp_path / "b", tmp_path / "m", out, "q")
    with pytest.raises(RedactionError, match="is not what"):
        restore(tmp_path / "other", tmp_path / "m", out, "p")
    heading = whole.index(b"\n") + 1
    frame = heading + 4 + int.from_bytes(whole[heading : heading + 4], "big")
    damaged = [
        whole[:-1],
        whole[:frame],
        whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:],
        b"{}\n",
        b"[" * 4000,
        whole.replace(b'"n": 32768', b'"n": 32767', 1),
        whole.replace(b'"r": 8', b'"r": 1.5', 1),
        b"",
        whole[heading:],
    ]
    for content in damaged:
        (tmp_path / "bad").write_bytes(content)
        with pytest.raises(RedactionError):
            restore(tmp_path / "b", tmp_path / "bad", out, "p")
        assert not out.exists()


def test_a_report_says_what_is_to_be_reviewed(bundle_of_planted, tmp_path, capsys):
    (tmp_path / "a.jsonl").write_text('{"id": 5, "text": "龘 13812345678"}\n{"text": "无"}\n', "utf-8")
    options = ["--out", tmp_path / "b.jsonl", "--report", tmp_path / "r.jsonl", "--threshold", "PER=1"]
    assert redact("bundle", tmp_path / "a.jsonl", *options) == 0
    (line,) = (tmp_path / "r.jsonl").read_text("utf-8").splitlines()
    report = json.loads(line)
    assert report["id"] == 5
    assert report["replaced"] == [{"start": 2, "end": 11, "label": "PHONE", "text": "[PHONE_1]"}]
    assert [entity["text"] for entity in report["unsure"]] == ["龘"]
    assert "2 texts; 1 to review" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("bundle {a} --map m", "--map needs --out"),
        ("--rules-only {a} --threshold 0.5", "--rules-only uses no tagger"),
        ("bundle {a} --out /dev/null --map {t}/m", "--out /dev/null: is a device"),
        ("bundle {a} --out {t}/x --map /dev/null", "--map /dev/null: is a device"),
        ("bundle {a} --out {t}/x --key-file {t}/empty", "is empty; write a secret"),
        ("bundle {t}/brat", "is a folder: give --out"),
        ("bundle {t}/brat --out {a} --force", "is a file, and a folder is to be written"),
        ("bundle {a} --out {t}/brat --force", "is a folder, and a file is to be written"),
        ("bundle {a} --labels PER,NAME", "no label or rule 'NAME'"),
        ("bundle {a} --out {a}", "is read by this command"),
        ("bundle {a} --out {t}/x --report {t}/x", "choose different files"),
        ("--undo {a} --out {t}/x", "--undo takes the redacted file"),
        ("--undo {t}/no --map {a} --out {t}/x", "there is no such file"),
        ("--undo {a} --map {a} --out {t}/x", "is no map"),
        ("bundle {a} --always {a}", "put a tab and a label"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line(bundle_of_planted, tmp_path, capsys, arguments, message):
    (tmp_path / "a.txt").write_text("龘\n", "utf-8")
    (tmp_path / "empty").touch()
    shutil.copytree(GOLDEN / "brat", tmp_path / "brat")
    before = sorted(tmp_path.iterdir())
    assert redact(*arguments.format(a=tmp_path / "a.txt", t=tmp_path).split()) in (1, 2)
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == before


def test_what_is_found_in_another_value_is_replaced_in_the_text():
    document = Document("加我 12345678 聊", extra={"note": "QQ: 12345678"})
    redacted = Redactor(None).redact(document, ()).document
    assert "12345678" not in redacted.text + str(redacted.extra)


def test_a_surname_and_a_name_that_it_begins_are_told_apart():
    text = "李先来了。李先说。李先生好"
    redacted = Redactor(None).redact(
        Document(text), [Entity(0, 2, "PER", "李先", 1.0), Entity(9, 10, "PER", "李", 1.0)]
    )
    assert redacted.document.text == "[PER_1]来了。[PER_1]说。[PER_1]生好"


def test_keys_that_become_alike_lose_no_value():
    document = Document("王明李华", extra={"n": {"王明": 1, "李华": 2}})
    redacted = Redactor(None, "mask").redact(document, entities(document.text, ("王明", "PER"), ("李华", "PER")))
    assert redacted.document.extra == {"n": {"**": 1, "**_2": 2}}


def test_stretches_that_nobody_annotated_stay_apart():
    document = Document("甲王明乙丙丁", unlabelled=((0, 2), (2, 4)))
    redacted = Redactor(None).redact(document, entities(document.text, ("王明", "PER")))
    assert redacted.document.unlabelled == ((0, 9),)


@pytest.mark.parametrize(
    ("mention", "label"),
    [
        ("VISA 4111111111111111", "BANK_CARD"), ("A123456789012345678901", "ID_CARD"), ("工行ABC622202", "BANK_CARD"),
        ("10.0.0.1000", "IP"), ("１０．０．０．１", "IP"), ("1..2", "IP"), ("OI35010000000000XX", "CREDIT_CODE"),
        *((mention, label) for mention in ("王", "x", "12", "-", "ＡＢ１２", "龘abc 9") for label in STAND_INS),
    ],
)  # fmt: skip
def test_a_stand_in_is_made_of_whatever_has_a_label(mention, label):
    made = stand_in(label, mention, random.Random(1))
    assert len(made) == len(mention)


def test_long_repetitions_take_no_long_time():
    text = "哈" * 100_000
    redacted = Redactor(None).redact(Document(text), [Entity(0, 2, "PER", "哈哈", 1.0)])
    assert redacted.document.text == "[PER_1]"
