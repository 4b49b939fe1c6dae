"""A client that sends whatever it is given, many at a time, and notes how it was answered."""

import asyncio
from collections import Counter
from collections.abc import Iterable

WAIT_SECONDS = 60.0
"""How long an answer may take: far longer than any should, for a busy machine."""


async def send(port: int, content: bytes) -> list[int]:
    """Send bytes on a connection of their own, say that this was all, and read to the end; the statuses."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return []
    try:
        writer.write(content)
        writer.write_eof()
        answer = await asyncio.wait_for(_read(reader), WAIT_SECONDS)
    except (ConnectionError, BrokenPipeError):
        return []
    finally:
        writer.transport.abort()
    return statuses(answer)


async def _read(reader: asyncio.StreamReader) -> bytes:
    """What is answered; of events, which have no end, the beginning."""
    answer = b""
    while b"\r\nContent-Type: text/event-stream" not in answer and (piece := await reader.read(64 * 1024)):
        answer += piece
    return answer


def statuses(answer: bytes) -> list[int]:
    """The status of each answer, but for interim ones, as far as they can be told apart without parsing bodies."""
    lines = [line for line in answer.split(b"\r\n") if line.startswith(b"HTTP/1.1 ") and len(line) >= 12]
    return [status for line in lines if (status := int(line[9:12])) >= 200]


async def send_all(port: int, contents: Iterable[bytes], at_once: int = 32) -> "tuple[Counter[int], list[bytes]]":
    """Send each; how often each status came, and what was answered by one of 500 and more."""
    counted: Counter[int] = Counter()
    failed: list[bytes] = []
    waiting = iter(contents)

    async def worker() -> None:
        for content in waiting:
            answered = await send(port, content)
            counted.update(answered)
            if any(status >= 500 for status in answered):
                failed.append(content)

    await asyncio.gather(*(worker() for _ in range(at_once)))
    return counted, failed
