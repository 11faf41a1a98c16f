"""Redaction: rules and their check digits, replacements, what moves along, and the way back."""

import json
import random
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagger import corpus
from tagger.calibration import Thresholds
from tagger.cli import main
from tagger.documents import Document, Entity, Span, labelled
from tagger.errors import RedactionError
from tagger.redaction import REPLACEMENTS, Redactor
from tagger.redaction.rules import (
    credit_check,
    identity_check,
    is_card_number,
    is_credit_code,
    is_identity_number,
    luhn_check,
    matches,
)
from tagger.redaction.stand_ins import stand_in
from tagger.redaction.way_back import edits, restore, write_map
from tests.conftest import ROOT
from tests.samples import few, planted

GOLDEN = ROOT / "tests" / "golden"

# Text with what rules must find in it, and under which name.
FOUND = [
    ("请拨13812345678，", "13812345678 PHONE"),
    ("电话 +86 138-1234-5678。", "+86 138-1234-5678 PHONE"),
    ("手机１３８１２３４５６７８", "１３８１２３４５６７８ PHONE"),
    ("座机010-62751234转8", "010-62751234 PHONE"),
    ("(0571)87654321", "(0571)87654321 PHONE"),
    ("热线400-820-8820", "400-820-8820 PHONE"),
    ("身份证11010519491231002X，", "11010519491231002X ID_CARD"),
    ("卡号6222 0212 3456 7890 128", "6222 0212 3456 7890 128 BANK_CARD"),
    ("卡4111-1111-1111-1111。", "4111-1111-1111-1111 BANK_CARD"),
    ("代码91350100M000100Y43", "91350100M000100Y43 CREDIT_CODE"),
    ("车牌京A·12345和粤BD12345", "京A·12345 PLATE", "粤BD12345 PLATE"),
    ("写信到li.si_2@mail.pku.edu.cn。", "li.si_2@mail.pku.edu.cn EMAIL"),
    ("见https://a.cn/b?c=1，或www.tagger.cn。", "https://a.cn/b?c=1 URL", "www.tagger.cn URL"),
    ("主机192.168.1.10:80和2001:db8::1", "192.168.1.10 IP", "2001:db8::1 IP"),
    ("1985年3月2日出生", "1985年3月2日 BIRTH_DATE"),
    ("出生日期：1990-01-02", "1990-01-02 BIRTH_DATE"),
    ("付了3,000.5元、五十块钱和叁万元整", "3,000.5元 MONEY", "五十块钱 MONEY", "叁万元整 MONEY"),
    ("住在海淀区学院路15号院3号楼501室", "海淀区学院路15号院3号楼501室 ADDRESS"),
]

# What looks like something that rules find, and is not.
NOT_FOUND = [
    "订单138123456789", "版本1.2.3.4.5", "比分12:30:45", "号码12345678901", "11010519491231002Y", "110105194912310021",
    "尾号1234", "第13812345678901号", "邮编100084", "4111111111111112", "999.1.1.1", "元旦", "一块石头", "a@b",
    "2024年5月1日开业", "沪指A股", "3.13812345678", "京ABCDEF",
]  # fmt: skip


@pytest.mark.parametrize("row", FOUND)
def test_rules_find(row):
    text, *expected = row
    assert [f"{text[start:end]} {label}" for start, end, label in matches(text)] == expected


@pytest.mark.parametrize("text", NOT_FOUND)
def test_rules_leave_look_alikes(text):
    assert list(matches(text)) == []


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
    texts = "王小明来了", "是王小明"
    for by in ("label", "stand-in"):
        first, second = (
            Redactor(None, by, key=b"k").redact(Document(text), entities(text, ("王小明", "PER"))).replacements[0]
            for text in texts
        )
        assert first == second
        other = Redactor(None, by, key=b"other").redact(Document(texts[0]), entities(texts[0], ("王小明", "PER")))
        assert other.replacements[0] != first


def test_lists_and_thresholds():
    text = "王小明在东湖用天眼"
    found = entities(text, ("王小明", "PER"), score=0.4) + entities(text, ("东湖", "LOC"))
    redactor = Redactor(None, thresholds=Thresholds(0.5), always={"天眼": "PROJECT"}, never=frozenset({"东湖"}))
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


@pytest.mark.parametrize("row", FOUND)
def test_stand_ins_are_of_the_same_kind(row):
    for line in row[1:]:
        mention, label = line.rsplit(" ", 1)
        made = stand_in(label, mention, random.Random(mention))
        assert made != mention
        if label not in ("BIRTH_DATE", "ADDRESS", "IP"):  # which need their context, or may be out of range
            assert [made[start:end] for start, end, _ in matches(made, [label])] == [made]


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
    with pytest.raises(RedactionError, match="is not the file"):
        restore(tmp_path / "other", tmp_path / "m", out, "p")
    heading = whole.index(b"\n") + 1
    frame = heading + 4 + int.from_bytes(whole[heading : heading + 4], "big")
    damaged = [
        whole[:-1],
        whole[:frame],
        whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:],
        b"{}\n",
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
    assert "2 texts; 1 entities to review" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("bundle {a} --map m", "--map needs --out"),
        ("{a}", "two arguments are needed"),
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
    before = sorted(tmp_path.iterdir())
    assert redact(*arguments.format(a=tmp_path / "a.txt", t=tmp_path).split()) in (1, 2)
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == before
