import asyncio
import json
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate

from tagger import Tagger, corpus
from tagger.calibration import Thresholds
from tagger.cli import main
from tagger.documents import Document, Span
from tagger.errors import ConfigError, CorpusError
from tagger.redaction.lists import Lists
from tagger.serve.application import application
from tagger.serve.batching import BusyError, SharedTagger
from tagger.serve.corrections import CorpusFile
from tagger.serve.endpoints import ENDPOINTS
from tagger.serve.limits import Limits
from tagger.serve.server import serve
from tests.conftest import ROOT, SAMPLE
from tests.make_golden_bundle import GOLDEN
from tests.samples import planted
from tests.serving import ask, asked, served

JSON, LINES = {"content-type": "application/json"}, {"content-type": "application/x-ndjson"}
HEAD = "POST /tag HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n"
PREDICTED = {"start": 1, "end": 2, "label": "CORE", "text": "龘"}


# ---- clients and taggers -----------------------------------------------------------------------------------------


def tagged(app, value, headers=JSON):
    return asked(app, "POST", "/tag", json.dumps(value).encode(), headers)


def redacted(app, value, query="", headers=JSON):
    return asked(app, "POST", f"/redact{query}", json.dumps(value).encode(), headers)


def without_scores(entities):
    return [{key: entity[key] for key in PREDICTED} for entity in entities]


@pytest.fixture(scope="module")
def app():
    return application(planted(workers=2))


@pytest.fixture
def small():
    return application(planted(), Limits(body=200, texts=3, characters=20, stream=1000, seconds=1))


class BlockedTagger:
    """A tagger that waits until `go` is set."""

    def __init__(self):
        self.inner, self.go, self.groups = planted(), threading.Event(), []
        self.labels, self.workers, self.identity = self.inner.labels, 1, None

    def batch(self, texts):
        self.groups.append(list(texts))
        assert self.go.wait(20)
        return self.inner.batch(texts)


@contextmanager
def unblocked(blocked):
    try:
        yield blocked
    finally:
        blocked.go.set()


# ---- responses ---------------------------------------------------------------------------------------------------


def test_one_text(app):
    answer = tagged(app, {"text": "我龘"})
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json["text"] == "我龘"
    assert without_scores(answer.json["entities"]) == [PREDICTED]
    assert 0.9 < answer.json["entities"][0]["score"] <= 1


def test_several_texts(app):
    results = tagged(app, {"texts": ["我龘", "", "好", "我龘"]}).json["results"]
    assert [result["text"] for result in results] == ["我龘", "", "好", "我龘"]
    assert [without_scores(result["entities"]) for result in results] == [[PREDICTED], [], [], [PREDICTED]]
    assert tagged(app, {"texts": []}).json == {"results": []}


@pytest.mark.parametrize("text", ["", " ", "\ud800", "\udfff龘", "\x00", "\u2028", "😀龘", "龘" * 3000, "a\r\nb"])
def test_odd_texts(app, text):
    answer = tagged(app, {"text": text})
    assert answer.json["text"] == text
    assert all(text[e["start"] : e["end"]] == e["text"] for e in answer.json["entities"])
    assert len(answer.json["entities"]) == text.count("龘")


def stream_of(texts):
    return "".join(json.dumps({"text": text}) + "\n" for text in texts).encode()


def test_json_lines(app):
    answer = asked(app, "POST", "/tag", stream_of(["我龘", "好"]) + b'\r\n{"text": "x", "entities": 5}', LINES)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/x-ndjson")
    assert [line["text"] for line in answer.lines] == ["我龘", "好", "", "x"]
    assert without_scores(answer.lines[0]["entities"]) == [PREDICTED]
    assert asked(app, "POST", "/tag", b"", LINES).lines == []


def test_whatever_else_is_given_comes_back(app):
    given = {"id": 7, "text": "我龘", "meta": {"a": [None, 1.5]}, "entities": [{"start": 0}]}
    further = {"id": 7, "meta": {"a": [None, 1.5]}, "gold": [{"start": 0}]}
    lines = asked(app, "POST", "/tag", (json.dumps(given) + "\n").encode() * 2, LINES).lines
    for answer in (tagged(app, given).json, *lines):
        assert without_scores(answer.pop("entities")) == [PREDICTED]
        assert answer == {"text": "我龘", **further}
    several = tagged(app, {"id": 8, "texts": ["我龘", ""], "results": "ours"}).json
    assert list(several) == ["results", "id"]
    assert [list(result) for result in several["results"]] == [["text", "entities"]] * 2


@pytest.mark.parametrize("value", ["NaN", "-Infinity", "1e999", "[" * 150 + "]" * 150])
def test_what_could_not_come_back_is_rejected(app, value):
    answer = asked(app, "POST", "/tag", f'{{"text": "好", "a": {value}}}'.encode(), JSON)
    assert (answer.status, answer.json["error"]) == (400, "expected JSON of ordinary depth and numbers")


def test_json_lines_however_they_are_cut(app):
    body = stream_of([f"第{number}个龘" for number in range(50)])
    whole = asked(app, "POST", "/tag", body, LINES).body
    cut = [body[place : place + 7] for place in range(0, len(body), 7)]
    assert asked(app, "POST", "/tag", b"", LINES, more=cut).body == whole
    assert whole.count(b"\n") == 50


def test_json_lines_are_answered_while_they_arrive():
    """A client may wait for an answer before it sends the next line."""

    async def talk():
        with served(planted()) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"{HEAD}Transfer-Encoding: chunked\r\n\r\n".encode())
            for number in range(3):
                line = stream_of([f"{number}龘"])
                writer.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
                async with asyncio.timeout(10):
                    assert f'"{number}龘"'.encode() in await reader.readuntil(b"}]}\n")
            writer.write(b"0\r\n\r\n")
            async with asyncio.timeout(10):
                assert b"0\r\n\r\n" in await reader.readuntil(b"0\r\n\r\n")
            writer.close()

    asyncio.run(talk())


def test_a_client_may_send_everything_before_it_reads():
    count = 60_000
    body = stream_of(["我龘"] * count)
    with served(planted(workers=2)) as port, socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        head = f"{HEAD}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        client.sendall(head.encode() + body)
        received = b"".join(iter(lambda: client.recv(1 << 20), b""))
    assert received.count(b'"label": "CORE"') == count


def test_a_later_error_is_reported_in_the_last_line(app):
    lines = asked(app, "POST", "/tag", stream_of(["我龘"]), LINES, more=[b"{bad\n", b'{"text": "x"}\n']).lines
    assert without_scores(lines[0]["entities"]) == [PREDICTED]
    assert lines[1]["status"] == 400
    assert re.match("line 2: expected JSON", lines[1]["error"])
    assert len(lines) == 2


def test_a_client_that_leaves_is_no_failure(app):
    for headers in (JSON, LINES):
        answer = asked(app, "POST", "/tag", b'{"text": ', headers, more=[None])
        assert answer.status in (200, 400)


def test_about_health_and_metrics(app):
    about = asked(app, "GET", "/about").json
    assert about["labels"] == ["CORE"]
    assert about["save"] is False
    assert about["limits"]["texts"] == 1000
    assert asked(app, "GET", "/health").json == {"status": "ok"}
    tagged(app, {"text": "我龘"})
    metrics = asked(app, "GET", "/metrics").body.decode()
    for line in (
        'requests_total{path="/tag",status="200"}',
        'entities_total{label="CORE"}',
        "texts_total",
        "batch_texts",
    ):
        assert f"tagger_{line}" in metrics
    assert "/nowhere" not in asked(app, "GET", "/metrics").body.decode()


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/page.js",
        "/page.css",
        "/state.js",
        "/view.js",
        "/theme.js",
        "/messages.js",
        "/icon.svg",
        "/docs.js",
        "/docs.css",
    ],
)
def test_the_page_is_whole_and_strict(app, path):
    answer = asked(app, "GET", path)
    assert answer.status == 200
    assert answer.body
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    without_namespace = answer.body.replace(b'xmlns="http://www.w3.org/2000/svg"', b"")
    assert not re.search(rb"https?://|//[a-z]+\.|\son[a-z]+=|style=|innerHTML|eval\(", without_namespace)


def test_the_openapi_document_is_valid_and_complete(app):
    document = asked(app, "GET", "/openapi.json").json
    validate(document)
    documented = {(path, method.upper()) for path, methods in document["paths"].items() for method in methods}
    assert documented == {(endpoint.path, endpoint.method) for endpoint in ENDPOINTS}

    def check(schema, value):
        OAS31Validator({"$ref": f"#/components/schemas/{schema}", "components": document["components"]}).validate(value)

    check("Result", tagged(app, {"text": "我龘"}).json)
    check("Results", tagged(app, {"texts": ["我龘"]}).json)
    check("Redacted", redacted(app, {"text": "我龘"}).json)
    check("RedactedTexts", redacted(app, {"texts": ["我龘"]}).json)
    check("About", asked(app, "GET", "/about").json)
    check("Health", asked(app, "GET", "/health").json)
    check("Error", tagged(app, {}).json)


# ---- redaction ---------------------------------------------------------------------------------------------------
def test_what_identifies_somebody_is_replaced(app):
    given = {"id": 1, "text": "龘的电话是13812345678", "author": "龘"}
    assert redacted(app, given).json == {
        "id": 1, "author": "[CORE_1]", "text": "[CORE_1]的电话是[PHONE_1]",
        "replaced": [
            {"start": 0, "end": 8, "label": "CORE", "text": "[CORE_1]"},
            {"start": 12, "end": 21, "label": "PHONE", "text": "[PHONE_1]"},
        ],
    }  # fmt: skip
    assert redacted(app, {"texts": ["龘", "无"]}, "?by=mask").json["results"][0]["text"] == "*"
    assert redacted(app, given, "?labels=PHONE").json["text"] == "龘的电话是[PHONE_1]"
    assert redacted(app, given, "?threshold=1").json["text"] == "龘的电话是[PHONE_1]"
    lines = redacted(app, given, headers={"content-type": "application/x-ndjson"})
    assert json.loads(lines.text)["text"] == "[CORE_1]的电话是[PHONE_1]"
    assert redacted(app, given, "?by=magic").status == 400
    assert redacted(app, given, "?labels=NAME").status == 400
    assert redacted(app, given, "?unsure=yes").status == 400


def test_nothing_comes_back_beside_redacted_texts_that_was_replaced_in_them(app):
    several = {"texts": ["龘的电话是13812345678"], "note": "龘 13812345678", "id": 7}
    answer = redacted(app, several).json
    assert answer.keys() == {"results", "id"}
    assert answer["id"] == 7


def test_given_annotations_are_redacted_and_move_along(app):
    given = {"text": "电话13812345678，王明", "entities": [{"start": 14, "end": 16, "label": "CORE"}]}
    answer = redacted(app, given).json
    assert answer["text"] == "电话[PHONE_1]，[CORE_1]"
    assert [(gold["start"], gold["end"]) for gold in answer["gold"]] == [(12, 20)]
    wrong = {"text": "王明", "entities": [{"start": 0, "end": 9, "label": "CORE"}]}
    assert redacted(app, wrong).status == 422


def test_a_server_has_lists_and_a_secret_for_redaction():
    app = application(planted(), lists=Lists({"天眼": "PROJECT"}, frozenset({"龘"}), b"secret"))
    first, second = redacted(app, {"texts": ["龘看天眼", "又是天眼"]}).json["results"]
    assert first["text"].startswith("龘看[PROJECT_")
    assert first["replaced"][0]["text"] == second["replaced"][0]["text"]


def test_what_should_be_looked_at_is_told_on_request(app):
    card = {"text": "卡号6222020200112233440"}  # a wrong check digit
    assert "unsure" not in redacted(app, card).json
    (unsure,) = redacted(app, card, "?unsure=true").json["unsure"]
    assert (unsure["text"], unsure["label"], unsure["score"]) == ("6222020200112233440", "BANK_CARD", 0)


# ---- thresholds --------------------------------------------------------------------------------------------------
TWO = "李明去了上海。"
GIVEN_AND_KEPT = [
    ("", ["李明", "上海"]),
    ("?threshold=0", ["李明", "上海"]),
    ("?threshold=0.7", ["上海"]),
    ("?threshold=LOC=1", ["李明"]),
    ("?threshold=0.99,PER=0.1", ["李明"]),
    ("?threshold=0.99&threshold=PER%3D0.1", ["李明"]),
]


@pytest.fixture(scope="module")
def golden():
    return Tagger.load(GOLDEN / "format-3")


def mentions(result):
    return [entity["text"] for entity in result["entities"]]


@pytest.mark.parametrize(("query", "kept"), GIVEN_AND_KEPT)
def test_a_request_says_how_probable_entities_must_be(golden, query, kept):
    for default in (None, Thresholds(1.0)):
        app, expected = application(golden, thresholds=default), kept if query or not default else []
        one, several = ({"text": TWO}, {"texts": [TWO, TWO]})
        assert mentions(asked(app, "POST", f"/tag{query}", json.dumps(one).encode(), JSON).json) == expected
        results = asked(app, "POST", f"/tag{query}", json.dumps(several).encode(), JSON).json["results"]
        assert list(map(mentions, results)) == [expected] * 2
        assert list(map(mentions, asked(app, "POST", f"/tag{query}", stream_of([TWO]), LINES).lines)) == [expected]
        assert asked(app, "GET", "/about").json["thresholds"] == {"least": 1.0 if default else 0.0, "labels": {}}


@pytest.mark.parametrize("given", ["2", "-1", "x", "nan", "", "PER", "XY=0.5", "PER=0.5,", "PER=2", "%00"])
def test_a_wrong_threshold_is_refused(golden, given):
    app = application(golden)
    for body, headers in ((json.dumps({"text": TWO}).encode(), JSON), (stream_of([TWO]), LINES)):
        reply = asked(app, "POST", f"/tag?threshold={given}", body, headers)
        assert (reply.status, reply.json["error"][:9]) == (400, "threshold"), reply.text


@pytest.mark.parametrize(("given", "code"), [("PER=0.8,LOC=0.6", 0), ("2", 2), ("XY=0.5", 2)])
def test_the_server_is_started_with_a_threshold(monkeypatch, capsys, given, code):
    started = []
    monkeypatch.setattr("tagger.serve.server.serve", lambda *arguments: started.append(arguments))
    assert main(["serve", str(GOLDEN / "format-3"), "--threshold", given]) == code
    assert [arguments[-2] for arguments in started] == [Thresholds(0.0, {"PER": 0.8, "LOC": 0.6})][: 1 - code]
    assert ("--threshold" in capsys.readouterr().err) == bool(code)


# ---- rejections --------------------------------------------------------------------------------------------------

DEEP = "[" * 500_000
REFUSED = [
    ("GET", "/tag", "", JSON, 405, "Method Not Allowed"),
    ("POST", "/health", "", JSON, 405, "Method Not Allowed"),
    ("GET", "/nowhere", "", JSON, 404, "Not Found"),
    ("POST", "/tag/", "", JSON, 404, "Not Found"),
    ("POST", "/save", '{"text": "x"}', JSON, 404, "--save"),
    ("POST", "/tag", '{"text": "x"}', {}, 415, "Content-Type application/json"),
    ("POST", "/tag", '{"text": "x"}', {"content-type": "text/plain"}, 415, "Content-Type"),
    ("POST", "/tag", "x", {**JSON, "content-encoding": "gzip"}, 415, "not compressed"),
    ("POST", "/tag", "", JSON, 400, "expected JSON: Expecting value"),
    ("POST", "/tag", "{", JSON, 400, "expected JSON"),
    ("POST", "/tag", b"\xff\xfe", JSON, 400, "expected UTF-8, received other bytes at 0"),
    ("POST", "/tag", DEEP, JSON, 400, "ordinary depth"),
    ("POST", "/tag", '{"text": ' + "1" * 5000 + "}", JSON, 400, "ordinary depth and numbers"),
    ("POST", "/tag", "[]", JSON, 422, "received a list"),
    ("POST", "/tag", "null", JSON, 422, "received null"),
    ("POST", "/tag", "NaN", JSON, 422, "received a number"),
    ("POST", "/tag", "{}", JSON, 422, 'either "text"'),
    ("POST", "/tag", '{"text": "x", "texts": []}', JSON, 422, 'either "text"'),
    ("POST", "/tag", '{"text": true}', JSON, 422, "received a boolean"),
    ("POST", "/tag", '{"texts": "x"}', JSON, 422, '"texts" with a list of strings, received a string'),
    ("POST", "/tag", '{"texts": ["x", {}]}', JSON, 422, r'"texts"\[1\] with a string, received an object'),
    ("POST", "/tag", "{bad", LINES, 400, "line 1: expected JSON"),
    ("POST", "/tag", '{"text": "x"}\n{"text": 5}\n', LINES, 422, "line 2: expected"),
    ("POST", "/tag", "{}\n", LINES, 422, 'line 1: expected "text" with a string'),
    ("POST", "/tag", b"\xff\n", LINES, 400, "line 1: expected UTF-8"),
]


@pytest.mark.parametrize(("method", "path", "body", "headers", "status", "reason"), REFUSED)
def test_a_wrong_request_is_rejected_with_the_reason(app, method, path, body, headers, status, reason):
    answer = asked(app, method, path, body if isinstance(body, bytes) else body.encode(), headers)
    assert answer.status == status
    assert list(answer.json) == ["error"]
    assert re.search(reason, answer.json["error"])


LIMITED = [
    ({"text": "好" * 21}, JSON, '"text" of at most 20 characters, received 21'),
    ({"texts": ["好"] * 4}, JSON, "at most 3 texts, received 4; send application/x-ndjson for more"),
    ({"texts": ["好", "好" * 21]}, JSON, r'"texts"\[1\] of at most 20'),
    ({"text": "好", "more": "x" * 300}, JSON, "a body of at most 200 bytes"),
    ({"text": "好" * 21}, LINES, 'line 1: expected "text" of at most 20'),
    ({"text": "好", "more": "x" * 300}, LINES, "line 1: expected at most 200 bytes"),
    ({"text": "好", "more": "x" * 1000}, LINES, "a body of at most 1,000 bytes"),
]


@pytest.mark.parametrize(("value", "headers", "reason"), LIMITED)
@pytest.mark.parametrize("declared", [False, True])
def test_too_large_a_request_is_rejected_with_the_limit(small, value, headers, reason, declared):
    body = json.dumps(value, ensure_ascii=False).encode()
    headers = {**headers, "content-length": str(len(body))} if declared else headers
    answer = asked(small, "POST", "/tag", body, headers)
    assert answer.status == 413
    assert re.search(reason, answer.json["error"])


@pytest.mark.parametrize("length", ["1001", "9" * 5000])
def test_a_declared_length_is_refused_before_the_body_is_read(small, length):
    assert asked(small, "POST", "/tag", b'{"text": "x"}', {**JSON, "content-length": length}).status == 413


@pytest.mark.parametrize("headers", [JSON, LINES])
def test_a_body_that_does_not_come_is_not_waited_for(small, headers):
    async def never():
        await asyncio.sleep(30)

    answer = asked(small, "POST", "/tag", b'{"text"', headers, more=[never])
    assert answer.status == 408
    assert "within 1 seconds" in answer.json["error"]


def test_a_full_queue_refuses_and_the_next_request_is_answered():
    async def flood(app, blocked):
        body = json.dumps({"text": "龘" * 40}).encode()
        first = [asyncio.create_task(ask(app, "POST", "/tag", body, JSON)) for _ in range(2)]
        await asyncio.sleep(0.1)
        refused = await asyncio.gather(*(ask(app, "POST", "/tag", body, JSON) for _ in range(20)))
        blocked.go.set()
        return refused, await asyncio.gather(*first), await ask(app, "POST", "/tag", body, JSON)

    with unblocked(BlockedTagger()) as blocked:
        app = application(blocked, Limits(waiting=100))
        refused, first, after = asyncio.run(flood(app, blocked))
    assert {answer.status for answer in refused} == {429}
    assert refused[0].headers["retry-after"] == "1"
    assert [answer.status for answer in [*first, after]] == [200, 200, 200]


def test_too_many_requests_at_once_are_refused():
    async def flood(app, blocked):
        body = b'{"text": "x"}'
        first = [asyncio.create_task(ask(app, "POST", "/tag", body, JSON)) for _ in range(3)]
        await asyncio.sleep(0.05)
        refused, health = await ask(app, "POST", "/tag", body, JSON), await ask(app, "GET", "/health")
        blocked.go.set()
        return refused, health, await asyncio.gather(*first), await ask(app, "POST", "/tag", body, JSON)

    with unblocked(BlockedTagger()) as blocked:
        refused, health, first, after = asyncio.run(flood(application(blocked, Limits(requests=3)), blocked))
    assert (refused.status, health.status, after.status) == (503, 200, 200)
    assert "3 requests are in progress" in refused.json["error"]
    assert [answer.status for answer in first] == [200] * 3


def test_a_result_that_does_not_come_is_not_waited_for():
    async def wait(app, blocked):
        answer = await ask(app, "POST", "/tag", b'{"text": "x"}', JSON)
        blocked.go.set()
        return answer, await ask(app, "POST", "/tag", b'{"text": "x"}', JSON)

    with unblocked(BlockedTagger()) as blocked:
        late, after = asyncio.run(wait(application(blocked, Limits(seconds=1)), blocked))
    assert (late.status, after.status) == (503, 200)


def test_a_token_is_asked_for():
    app = application(planted(), token="geheim")
    for authorization in (
        {},
        {"authorization": "Bearer x"},
        {"authorization": "geheim"},
        {"authorization": "Bearer geheim\xff"},
    ):
        for method, path in (("POST", "/tag"), ("POST", "/save"), ("GET", "/about"), ("GET", "/metrics")):
            answer = asked(app, method, path, b'{"text": "x"}', {**JSON, **authorization})
            assert answer.status == 401
            assert answer.headers["www-authenticate"] == "Bearer"
    assert tagged(app, {"text": "x"}, {**JSON, "authorization": "Bearer geheim"}).status == 200
    assert {asked(app, "GET", path).status for path in ("/", "/page.js", "/health", "/openapi.json", "/docs")} == {200}


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost", 200), ("localhost:80", 200), ("127.0.0.1:8000", 200), ("[::1]:1", 200), ("[::1]", 200),
     ("evil.example", 421), ("evil.example:8000", 421), ("", 421), ("127.0.0.1.evil.example", 421)],
)  # fmt: skip
def test_a_foreign_host_name_is_rejected(host, status):
    app = application(planted(), hosts={"localhost", "127.0.0.1", "[::1]"})
    assert asked(app, "GET", "/about", headers={"host": host}).status == status


# ---- hostile input -----------------------------------------------------------------------------------------------


def hostile(rng):
    """Return (method, path, body, headers) of a request that must be refused."""
    kind = rng.randrange(10)
    headers = dict(rng.choice([JSON, LINES]))
    path = rng.choice(["/tag", "/tag", "/save"])
    junk = rng.choice(
        ["", "\ud800", "null", '"x"', "[" * 3000, '{"a":' * 3000, "1e999", "9" * 5000, "\x00", "{}", "[]"]
    )
    if kind < 3:  # random bytes, now and then with something that looks right before them
        body = rng.choice([b"", b'{"text": "', b"{"]) + rng.randbytes(rng.choice([1, 10, 1000])) + b"\xff"
    elif kind == 3:  # broken JSON
        whole = json.dumps({"text": "我在北京", "texts": ["x"] * rng.randrange(5), "entities": [{"start": 0}]})
        body = whole[: rng.randrange(len(whole) - 1)].encode() + b"{"
    elif kind == 4:  # wrong types
        wrong = rng.choice([None, True, 5, 1.5, {}, {"text": "x"}, [], ["x", None], [["x"]], [{}]])
        body = json.dumps({"text": wrong} if rng.random() < 0.5 else {"texts": [wrong]}).encode()
    elif kind == 5:  # deep
        body = junk.encode("utf-8", "surrogatepass") if junk != "" else b"["
    elif kind == 6:  # huge
        body = json.dumps({"text": "好" * 60} if rng.random() < 0.5 else {"texts": ["x"] * 60}).encode()
    elif kind == 7:  # lone surrogates where something else is expected
        body = json.dumps({"\ud800": "\udfff", "entities": [{"label": "\ud800"}]}).encode()
    elif kind == 8:  # entities that cannot be
        path, headers = "/save", JSON
        spans = [
            {"start": 0, "end": rng.choice([0, 9, -1, 1.5, "1", None, 10**400]), "label": rng.choice(["\ud800", "A"])}
        ]
        spans = rng.choice([spans, "\ud800", {"a": 1}, [[[]]], [json.loads("[" * 400 + "]" * 400)]])
        body = json.dumps({"text": "\ud800我", "entities": spans}).encode()
    else:  # another method, path or type
        method = rng.choice(["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "\xff"])
        return method, rng.choice(["/tag", "/save", "/\x00", "/../etc", "/%ff"]), junk.encode("utf-8", "replace"), {}
    if rng.random() < 0.1:
        headers = rng.choice(
            [{}, {"content-type": "\xff"}, {**headers, "content-length": rng.choice(["-1", "x", "²", "9" * 99])}]
        )
    return "POST", path, body, headers


def test_hostile_input_is_refused_and_nothing_fails(tmp_path):
    limits = Limits(body=10_000, texts=50, characters=50)
    app = application(planted(), limits, CorpusFile(tmp_path / "saved.jsonl"))
    rng = random.Random(1)

    async def attack():
        counts = {}
        for _ in range(10_000):
            request = hostile(rng)
            answer = await ask(app, *request)
            counts[answer.status] = counts.get(answer.status, 0) + 1
            assert 400 <= answer.status < 500, request
            assert list(json.loads(answer.body)) == ["error"], request
        return counts, await ask(app, "POST", "/tag", b'{"text": "x"}', JSON)

    counts, after = asyncio.run(attack())
    print(counts)
    assert set(counts) >= {400, 404, 405, 413, 415, 422}
    assert after.status == 200
    assert (tmp_path / "saved.jsonl").read_bytes() == b""


@pytest.mark.parametrize("seed", range(5))
def test_random_bytes_on_the_socket_do_no_harm(seed):
    rng = random.Random(seed)
    with served(planted()) as port:
        for _ in range(40):
            head = rng.choice(
                [b"", b"POST /tag HTTP/1.1\r\nHost: localhost\r\n", b"GET / HTTP/1.1\r\n", b"\x16\x03\x01"]
            )
            with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
                client.sendall(head + rng.randbytes(rng.randrange(400)) + b"\r\n\r\n")
        assert post(port, {"text": "我龘"})["text"] == "我龘"


# ---- batching ----------------------------------------------------------------------------------------------------


def sample_texts(count):
    return [document.text for document in corpus.read(SAMPLE / "train.jsonl")][:count]


@pytest.mark.train
def test_shared_batches_give_what_single_texts_give(bundle):
    tagger = Tagger.load(bundle, workers=2)
    texts = sample_texts(150)
    expected = [tagger(text) for text in texts]

    async def many():
        shared = SharedTagger(tagger, 1_000_000, lambda count, _: groups.append(count))
        answers = await asyncio.gather(*(shared.tag([text]) for text in texts), shared.tag(texts))
        shared.close()
        return answers

    groups = []
    *single, together = asyncio.run(many())
    assert [entities for (entities,) in single] == together == expected
    assert max(groups) > 10


def test_requests_take_turns():
    async def many():
        shared = SharedTagger(blocked, 1_000_000)
        first = asyncio.create_task(shared.tag(["x"]))
        await asyncio.sleep(0.05)
        large = asyncio.create_task(shared.tag(["长" * 999] * 40))
        await asyncio.sleep(0)
        small = asyncio.create_task(shared.tag(["短"]))
        await asyncio.sleep(0)
        blocked.go.set()
        await asyncio.gather(first, large, small)

    with unblocked(BlockedTagger()) as blocked:
        asyncio.run(many())
    place = next(number for number, group in enumerate(blocked.groups) if "短" in group)
    assert len(blocked.groups) > 10
    assert place <= 2


def test_texts_of_a_cancelled_call_are_not_tagged():
    async def leave():
        shared = SharedTagger(blocked, 1_000_000)
        first = asyncio.create_task(shared.tag(["x"]))
        await asyncio.sleep(0.05)
        left = asyncio.create_task(shared.tag(["y"] * 10))
        await asyncio.sleep(0.05)
        left.cancel()
        blocked.go.set()
        await first
        await shared.tag(["z"])
        assert shared.waiting == 0

    with unblocked(BlockedTagger()) as blocked:
        asyncio.run(leave())
    assert blocked.groups == [["x"], ["z"]]


def test_a_large_request_is_accepted_when_nothing_waits_and_others_may_wait():
    async def wait():
        shared = SharedTagger(blocked, 10)
        large = asyncio.create_task(shared.tag(["长" * 100]))
        await asyncio.sleep(0.01)
        with pytest.raises(BusyError):
            await shared.tag(["x"])
        waiting = asyncio.create_task(shared.tag(["x"], wait=True))
        await asyncio.sleep(0.01)
        blocked.go.set()
        assert [len(await large), len(await waiting)] == [1, 1]

    with unblocked(BlockedTagger()) as blocked:
        asyncio.run(wait())


def test_a_failing_tagger_does_not_stop_the_server():
    class Failing(BlockedTagger):
        def batch(self, texts):
            if "bad" in texts:
                raise ValueError
            return self.inner.batch(texts)

    async def talk():
        app = application(Failing())
        with pytest.raises(ValueError):  # the server above logs it  # noqa: PT011
            await ask(app, "POST", "/tag", b'{"text": "bad"}', JSON)
        return await ask(app, "POST", "/tag", b'{"text": "x"}', JSON)

    assert asyncio.run(talk()).status == 200


# ---- saving ------------------------------------------------------------------------------------------------------


def saving(path):
    return application(planted(), save=CorpusFile(path))


def test_a_corrected_document_is_added_to_the_corpus(tmp_path):
    path = tmp_path / "corrected.jsonl"
    app = saving(path)
    first = {"text": "我在北京\u2028\ud800", "entities": [{"start": 2, "end": 4, "label": "LOC", "score": 1}]}
    for value in (first, {"text": "好"}):
        assert asked(app, "POST", "/save", json.dumps(value).encode(), JSON).json["saved"] == "corrected.jsonl"
    assert list(corpus.read(path)) == [
        Document("我在北京\u2028\ud800", (Span(2, 4, "LOC"),), ("北京",)), Document("好"),
    ]  # fmt: skip


def test_the_content_of_the_corpus_file_is_kept(tmp_path):
    path = tmp_path / "corrected.jsonl"
    path.write_text('{"text": "旧"}', "utf-8")  # no line end
    assert asked(saving(path), "POST", "/save", '{"text": "新"}'.encode(), JSON).status == 200
    assert [document.text for document in corpus.read(path)] == ["旧", "新"]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"text": 5}, '"text" with a string'),
        ({"texts": ["x"]}, '"text" with a string'),
        ({"text": "x", "entities": [{"start": 0, "end": 2, "label": "A"}]}, "0 <= start < end <= 1"),
        ({"text": "xy", "entities": [{"start": 0, "end": 2, "label": "A"}] * 2}, "do not overlap"),
        ({"text": "x", "entities": [{"start": 0, "end": 1, "label": "\ud800 "}]}, "label without spaces"),
    ],
)
def test_a_wrong_document_is_not_saved(tmp_path, value, reason):
    path = tmp_path / "corrected.jsonl"
    answer = asked(saving(path), "POST", "/save", json.dumps(value).encode(), JSON)
    assert answer.status == 422
    assert reason in answer.json["error"]
    assert path.read_bytes() == b""


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.txt", "", r"a name that ends in \.jsonl"),
        ("a.jsonl.gz", "", r"a name that ends in \.jsonl"),
        ("a.jsonl", '\n{"content": "x"}\n', r"a\.jsonl:2: expected"),
        ("a.jsonl", '{"text": "x", "label": [[0, 1, "A"]]}\n', r"a\.jsonl:1: expected native .* the format doccano"),
        ("a.jsonl", '{"text": "x"}\n{"text": "x", "label": {"A": {"x": [[0, 0]]}}}\n', "the format cluener"),
        ("a.jsonl", '[{"text": "x"}]', "JSON that is not one record a line; convert it first"),
        ("a.jsonl", '{\n"text": "x"}', "JSON that is not one record a line; convert it first"),
        ("a.jsonl", "北京\n", r"a\.jsonl:1: expected a JSON object"),
    ],
)
def test_a_file_of_another_format_is_an_error_and_not_changed(tmp_path, name, content, reason):
    (tmp_path / name).write_text(content, "utf-8")
    with pytest.raises(CorpusError, match=reason):
        CorpusFile(tmp_path / name)
    assert (tmp_path / name).read_text("utf-8") == content


def test_a_full_disk_ends_a_stream_with_a_reason(app, monkeypatch):
    monkeypatch.setattr("tempfile.SpooledTemporaryFile.write", lambda *_: 3)
    (last,) = asked(app, "POST", "/tag", stream_of(["我龘"]), LINES).lines
    assert last["status"] == 507
    assert "No space left" in last["error"]


def test_a_full_disk_is_reported_and_leaves_the_file_unchanged(tmp_path, monkeypatch):
    path = tmp_path / "corrected.jsonl"
    path.write_text('{"text": "旧"}\n', "utf-8")
    app = saving(path)

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    answer = asked(app, "POST", "/save", b'{"text": "x"}', JSON)
    assert answer.status == 507
    assert "No space left" in answer.json["error"]
    assert path.read_text("utf-8") == '{"text": "旧"}\n'


def test_many_save_at_once(tmp_path):
    app = saving(tmp_path / "corrected.jsonl")

    async def many():
        bodies = [json.dumps({"text": f"{number}" * 50}).encode() for number in range(100)]
        return await asyncio.gather(*(ask(app, "POST", "/save", body, JSON) for body in bodies))

    assert {answer.status for answer in asyncio.run(many())} == {200}
    assert {document.text for document in corpus.read(tmp_path / "corrected.jsonl")} == {
        f"{n}" * 50 for n in range(100)
    }


# ---- the server --------------------------------------------------------------------------------------------------


def post(port, value):
    request = urllib.request.Request(f"http://127.0.0.1:{port}/tag", json.dumps(value).encode(), JSON)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def test_an_early_refusal_reaches_a_client_that_still_sends():
    with served(planted(), limits=Limits(body=1000)) as port, pytest.raises(urllib.error.HTTPError) as caught:
        post(port, {"text": "x" * 3_000_000})
    with caught.value as answer:
        assert answer.code == 413
        assert "at most 1,000 bytes" in json.load(answer)["error"]


def test_shutdown_finishes_what_was_accepted():
    answers = []
    with unblocked(BlockedTagger()) as blocked:
        with served(blocked) as port:
            client = threading.Thread(target=lambda: answers.append(post(port, {"text": "我龘"})))
            client.start()
            while not blocked.groups:
                time.sleep(0.01)
            threading.Timer(0.5, blocked.go.set).start()
        client.join(10)  # the server has stopped
    assert without_scores(answers[0]["entities"]) == [PREDICTED]


@pytest.mark.train
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_the_command_serves_until_a_signal_stops_it(bundle, how):
    command = [sys.executable, "-m", "tagger.cli", "serve", str(bundle), "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        port = int(re.search(r"http://127\.0\.0\.1:(\d+)/", process.stderr.readline())[1])
        assert post(port, {"text": "好"})["text"] == "好"
        process.send_signal(how)
        assert process.wait(20) == 0
        assert process.stderr.read() == ""


def test_an_address_in_use_is_an_error():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1, port {port}: .*; try another"):
            serve(planted(), "127.0.0.1", port, Limits(), None, "")
