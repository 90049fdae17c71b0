"""What is asked of a served network is looked at before MLflow sees it: bad input is 4xx, in words.

MLflow's scoring server alone makes a pixel of NaN and of 3.7, answers some mistakes with 500 or a
traceback, and takes bodies of any size, tables and Parquet files. No MLflow here.
"""

import asyncio
import json
from collections.abc import Iterator, Sequence
from typing import Any

from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BYTES = 16_000_000  # of a body: some five thousand images of 28 × 28
MOST_READ = 100 * MOST_BYTES  # of a body that is too large, thrown away as it comes
INVOCATIONS = "/invocations"
PATHS = (INVOCATIONS, "/ping", "/health", "/version")
KEYS = ("inputs", "instances")
HOSTS = ["127.0.0.1", "localhost"]  # another name in a browser's address may lead here too
JSON_TYPE = "application/json"
WHITE = 255
LONGEST_SHOWN = 60  # characters of what came


class RefusalError(Exception):
    """Why a request is not answered, in words for who sent it."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


class Guard:
    """An ASGI application around MLflow's."""

    def __init__(self, app: ASGIApp, image_shape: tuple[int, int]) -> None:
        """Args:
        app: MLflow's scoring server.
        image_shape: (H, W) of the network's images.
        """
        self.app, self.image_shape = app, image_shape

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        if scope["type"] != "http":  # the server's start and end
            await self.app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            if request.url.path not in PATHS:
                raise RefusalError(404, f"there is {', '.join(PATHS)}, and nothing else")
            if request.url.path == INVOCATIONS and request.method == "POST":
                body = await _body_of(request)
                # beside the server's own work: a large body takes its time
                await asyncio.to_thread(check_body, body, self.image_shape)
                receive = _again(body, receive)
        except RefusalError as refusal:
            content = {"error_code": "BAD_REQUEST", "message": str(refusal)}
            await JSONResponse(content, refusal.status)(scope, receive, send)
        except ClientDisconnect:
            return
        else:
            await self.app(scope, receive, send)


def guarded(app: ASGIApp, image_shape: tuple[int, int]) -> ASGIApp:
    """The application behind a guard, for this machine's own addresses alone."""
    return TrustedHostMiddleware(Guard(app, image_shape), allowed_hosts=HOSTS)


def check_body(body: bytes, image_shape: tuple[int, int]) -> None:
    """Raises RefusalError unless the body is `{"inputs": images}`, JSON, pixels of 0 to 255."""
    try:
        content = json.loads(body)
    except RecursionError:
        raise RefusalError(400, "the JSON is nested too deeply") from None
    except ValueError as error:  # no UTF-8 is one too, and a number of too many digits
        raise RefusalError(400, f"the body must be JSON: {_shown(str(error))}") from None
    if not isinstance(content, dict) or len(content) != 1 or next(iter(content)) not in KEYS:
        came = f"the keys {', '.join(content)}" if isinstance(content, dict) else _shown(content)
        raise RefusalError(400, f'the body must be {{"inputs": [images]}}, got {_cut(came)}')
    check_images(next(iter(content.values())), image_shape)


def check_images(images: Any, image_shape: tuple[int, int]) -> None:
    """Raises RefusalError unless these are lists `[B, H, W]` of pixels, B ≥ 1."""
    height, width = image_shape
    if not isinstance(images, list) or not images:
        raise RefusalError(400, f"there must be a list of images, got {_shown(images)}")
    for number, image in enumerate(images):
        rows = image if isinstance(image, list) else []
        if len(rows) != height or not all(isinstance(r, list) and len(r) == width for r in rows):
            raise RefusalError(
                400, f"images must be of shape [B, {height}, {width}]; image {number} is not"
            )
        for pixel in _no_pixels(rows):
            words = "pixels must be whole numbers from 0 to 255 (0 is the background)"
            raise RefusalError(400, f"{words}; in image {number} there is {_shown(pixel)}")


def _no_pixels(rows: Sequence[Sequence[Any]]) -> Iterator[Any]:
    """What in the rows is no pixel."""
    for row in rows:
        # nearly always, and a tenth of the time of asking each
        if set(map(type, row)) == {int} and min(row) >= 0 and max(row) <= WHITE:
            continue
        yield from (value for value in row if not _is_pixel(value))


def _is_pixel(value: Any) -> bool:
    """Neither true nor null is one, nor NaN."""
    return type(value) in (int, float) and 0 <= value <= WHITE and float(value).is_integer()


async def _body_of(request: Request) -> bytes:
    """The request's body. Raises RefusalError for one that is too large, or not JSON."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    too_large = RefusalError(
        413, f"a body must have at most {MOST_BYTES:,} bytes: send fewer images"
    )
    announced = request.headers.get("content-length", "0")
    is_announced = announced.isdecimal() and int(announced[:20]) > MOST_BYTES
    if is_announced and "expect" in request.headers:  # a client that asks before it sends
        raise too_large
    parts, size = list[bytes](), 0
    async for part in request.stream():
        size += len(part)
        if size <= MOST_BYTES:
            parts.append(part)
        else:
            # read to its end: a client that is still sending would not see our answer
            parts.clear()
            if size > MOST_READ:
                break
    if size > MOST_BYTES:
        raise too_large
    if kind != JSON_TYPE:
        raise RefusalError(415, f"the content-type must be {JSON_TYPE}, got {_shown(kind)}")
    return b"".join(parts)


def _again(body: bytes, receive: Receive) -> Receive:
    """The body as one message, for who reads it next."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message() -> Message:
        return messages.pop() if messages else await receive()

    return next_message


def _shown(value: Any) -> str:
    """What came, as JSON writes it, or its beginning."""
    if isinstance(value, list | dict):  # may be large
        return f"a {'list' if isinstance(value, list) else 'mapping'} of {len(value)}"
    return _cut(json.dumps(value))


def _cut(words: str) -> str:
    return words if len(words) <= LONGEST_SHOWN else f"{words[:LONGEST_SHOWN]}…"
