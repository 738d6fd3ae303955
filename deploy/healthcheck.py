"""Ends with 0 where this container's node answers /readyz with 200, else with 1 and the answer.

Standard library only, and of it little: it runs every few seconds beside the node, and importing http.client takes
longer than asking. What readiness means is `app/web/api.py`'s to say.
"""

import os
import socket
import sys

# Below the HEALTHCHECK's own, which would end this without a word.
TIMEOUT_S = 2.5
ANSWER_MAX_BYTES = 4096
LOCAL = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}


def main() -> int:
    """The exit status; what was answered goes to stdout, where `docker inspect` shows it."""
    host = os.environ.get("HOST", "")
    address = LOCAL.get(host, host), int(os.environ.get("PORT") or 8080)
    try:
        answer = ask(address)
    except OSError as error:
        print(f"{address[0]}:{address[1]} does not answer: {error}")
        return 1
    head, _, body = answer.partition(b"\r\n\r\n")
    print(head.partition(b"\r\n")[0].decode("latin-1"), body.decode("utf-8", "replace"))
    return 0 if head.split(b" ")[1:2] == [b"200"] else 1


def ask(address: tuple[str, int]) -> bytes:
    """The answer to GET /readyz. Raises OSError where there is none in time."""
    with socket.create_connection(address, TIMEOUT_S) as connection:
        connection.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = b""
        while len(answer) < ANSWER_MAX_BYTES and (part := connection.recv(ANSWER_MAX_BYTES)):
            answer += part
        return answer


if __name__ == "__main__":
    sys.exit(main())
