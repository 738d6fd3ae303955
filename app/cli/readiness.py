"""Asks a node whether it is ready, the way a load balancer does.

What makes a node ready is `app.web`'s to say.
"""

import asyncio

ANSWER_LIMIT_S = 2.0
STATUS_LINE_BYTES = 12  # "HTTP/1.1 200"


async def is_ready(host: str, port: int) -> bool:
    """Whether `GET /readyz` on that port answers 200."""
    try:
        async with asyncio.timeout(ANSWER_LIMIT_S):
            return await _status_of(host, port, "/readyz") == b"200"
    except (OSError, EOFError, TimeoutError):
        return False


async def _status_of(host: str, port: int, path: str) -> bytes:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
        return (await reader.readexactly(STATUS_LINE_BYTES))[-3:]
    finally:
        writer.close()
