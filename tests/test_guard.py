"""What may be asked of a served network; whatever else comes is refused in words."""

import asyncio
import json
from collections.abc import Iterable
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from fashion_mnist.tracking import guard
from fashion_mnist.tracking.guard import RefusalError, check_body, guarded

IMAGE: list[list[float]] = [[0, 255, 3], [4, 5.0, 6]]  # 2 × 3
JSON_HEADER = [(b"host", b"127.0.0.1:5001"), (b"content-type", b"application/json; charset=utf-8")]


def deep(levels: int) -> str:
    return "[" * levels + "]" * levels


@pytest.mark.parametrize("key", ["inputs", "instances"])
def test_images_are_taken(key: str) -> None:
    """Whole numbers from 0 to 255, also written as decimals."""
    check_body(json.dumps({key: [IMAGE, IMAGE]}).encode(), (2, 3))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"no json",
        b"null",
        b"[1, 2]",
        b'{"inputs": null}',
        b'{"inputs": []}',
        b'{"inputs": 5}',
        b'{"inputs": "text"}',
        b'{"inputs": {"a": 1}}',
        b'{"dataframe_split": {"columns": [], "data": []}}',
        json.dumps({"inputs": [IMAGE], "params": {}}).encode(),
        json.dumps({"inputs": IMAGE}).encode(),
        json.dumps({"inputs": [IMAGE, IMAGE[:1]]}).encode(),
        json.dumps({"inputs": [[row[:2] for row in IMAGE]]}).encode(),
        json.dumps({"inputs": [[[row] for row in IMAGE]]}).encode(),
        f'{{"inputs": {deep(50)}}}'.encode(),
        f'{{"inputs": {deep(100_000)}}}'.encode(),
        b'{"inputs": ' + b"9" * 5000 + b"}",
    ],
    ids=lambda body: body[:25].decode(errors="replace"),
)
def test_other_bodies_are_refused(body: bytes) -> None:
    """With the shape that is wanted, on one line of bounded length."""
    with pytest.raises(RefusalError) as caught:
        check_body(body, (2, 3))
    assert caught.value.status == 400
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("pixel", "shown"),
    [
        ("NaN", "NaN"),
        ("Infinity", "Infinity"),
        ("null", "null"),
        ("true", "true"),
        ('"7"', '"7"'),
        ("-1", "-1"),
        ("256", "256"),
        ("3.5", "3.5"),
        ("1e400", "Infinity"),
        ("1" + "0" * 400, "1000"),
        ("[1]", "a list of 1"),
        ('"' + "x" * 5000 + '"', '"xxx'),
        ('"\\u001b[2J"', '"\\u001b'),
    ],
)
def test_what_is_no_pixel_is_named(pixel: str, shown: str) -> None:
    """With the image that it is in, and harmlessly."""
    body = json.dumps({"inputs": [IMAGE, IMAGE]}).replace("5.0", pixel, 2)
    body = body.replace(pixel, "5", 1) if body.count(pixel) == 2 else body
    with pytest.raises(RefusalError, match="whole numbers from 0 to 255") as caught:
        check_body(body.encode(), (2, 3))
    assert f"in image 1 there is {shown}" in str(caught.value)
    assert len(str(caught.value)) < 200


def ask(
    parts: Iterable[bytes], headers: list[tuple[bytes, bytes]], **changes: Any
) -> tuple[int, bytes, list[bytes]]:
    """Status and body of the guard's answer, and what the application behind it was sent."""
    scope: Scope = {
        "type": "http",
        "method": "POST",
        "path": "/invocations",
        "query_string": b"",
        "headers": headers,
    } | changes
    waiting, answers, heard = iter(parts), list[Message](), list[bytes]()

    async def receive() -> Message:
        part = next(waiting, None)
        return {"type": "http.request", "body": part or b"", "more_body": part is not None}

    async def send(message: Message) -> None:
        answers.append(message)

    async def behind(_scope: Scope, receive: Receive, send: Send) -> None:
        heard.append((await receive())["body"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"answered"})

    async def run() -> None:
        await guarded(behind, (2, 3))(scope, receive, send)

    asyncio.run(run())
    return answers[0]["status"], b"".join(each.get("body", b"") for each in answers), heard


def test_a_good_body_is_handed_on_whole() -> None:
    """However it comes; other paths are not there."""
    body = json.dumps({"inputs": [IMAGE]}).encode()
    assert ask([body[:5], b"", body[5:]], JSON_HEADER) == (200, b"answered", [body])
    assert ask([], JSON_HEADER, method="GET", path="/ping")[0] == 200
    assert ask([], JSON_HEADER, method="GET", path="/docs")[0] == 404


@pytest.mark.parametrize(
    "header",
    [
        (b"content-type", b"text/csv"),
        (b"content-type", b"application/vnd.apache.parquet"),
        (b"content-type", b""),
        (b"accept", b"*/*"),
    ],
)
def test_json_alone_is_read(header: tuple[bytes, bytes]) -> None:
    """Tables and Parquet are for other models, and a body without a type is MLflow's 500."""
    status, said, heard = ask([b"{}"], [JSON_HEADER[0], header])
    assert (status, heard) == (415, [])
    assert b"application/json" in said


def test_another_host_is_refused() -> None:
    """A page in a browser whose own address was made to lead here."""
    assert ask([b"{}"], [(b"host", b"evil.example"), JSON_HEADER[1]])[0] == 400


def test_a_huge_body_is_refused_and_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read to its end, so that its sender hears the answer; one without an end is cut off."""
    monkeypatch.setattr(guard, "MOST_BYTES", 100)
    monkeypatch.setattr(guard, "MOST_READ", 1000)
    taken = list[int]()

    def parts(count: int) -> Iterable[bytes]:
        taken.clear()
        for number in range(count):
            taken.append(number)
            yield bytes(10)

    status, said, heard = ask(parts(50), JSON_HEADER)
    assert (status, heard, len(taken)) == (413, [], 50)
    assert b"at most 100 bytes" in said
    assert ask(parts(10**9), JSON_HEADER)[0] == 413
    assert len(taken) == 101
    announced = [*JSON_HEADER, (b"content-length", b"101"), (b"expect", b"100-continue")]
    taken.clear()
    assert ask(parts(11), announced)[0] == 413
    assert taken == []
