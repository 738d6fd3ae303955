"""What the contenders' chat looks like on the wire, byte for byte.

Every message of a line has the same size, so that a count of bytes is a count of messages: names and numbers
are of fixed width, and the text is ASCII.
"""

from .frames import masked, unmasked

MESSAGE_BYTES = 100
ROOM_NAMESPACE = "/"
ECHO_NAMESPACE = "/echo"


def nickname(number: int) -> str:
    """The name of member `number`, always nine characters."""
    return f"guest{number:04d}"


def marker(number: int) -> bytes:
    """What stands in every message of sender `number`, once, and in no other's."""
    return b" #%04d." % number


def message(number: int, turn: int) -> str:
    """The text that sender `number` sends as its message `turn`, from 0."""
    return f" #{number:04d}.{turn:07d}.".ljust(MESSAGE_BYTES, "x")


def number_and_turn(text: str) -> tuple[int, int]:
    """Who sent a text, and as which of his messages. Raises ValueError for any other text."""
    _, _, rest = text.partition(" #")
    number, turn, _ = rest.split(".", 2)
    return int(number), int(turn)


def connect(namespace: str) -> bytes:
    """Socket.IO's CONNECT."""
    return masked(b"40" if namespace == "/" else f"40{namespace},".encode())


PID = b'"pid"'  # in that answer, where the server lets this client recover
ANY_OFFSET = "0" * 16  # as long as all of them


def connected(namespace: str) -> bytes:
    """How the payload of the answer to CONNECT begins."""
    return b'40{"sid"' if namespace == "/" else f'40{namespace},{{"sid"'.encode()


def join(room: str, number: int) -> bytes:
    """Member `number` joins a room, and asks for an acknowledgement."""
    return masked(f'420["joinroom",{{"room":"{room}","nickname":"{nickname(number)}"}}]'.encode())


JOINED = b'430[{"ok":true'


def say(number: int, turn: int) -> bytes:
    """A message to everybody in the sender's room; no acknowledgement is asked for."""
    return masked(f'42["send_msg",{{"to":"ALL","msg":"{message(number, turn)}"}}]'.encode())


def said(number: int, turn: int, offset: str = "") -> bytes:
    """What every member then gets, as a whole frame; `offset`: behind it, for clients that can recover."""
    name, text = nickname(number), message(number, turn)
    data = f'{{"msg":"{name} : {text}","type":"message","nickname":"{name}","to":"ALL"}}'
    return unmasked(f'42["broadcast_msg",{data}{_argument(offset)}]'.encode())


def shout(number: int, turn: int) -> bytes:
    """A message to everybody in the echo namespace."""
    return masked(f'42/echo,["fromclient",{{"msg":"{message(number, turn)}"}}]'.encode())


def shouted(number: int, turn: int, offset: str = "") -> bytes:
    """What everybody in the echo namespace then gets, as a whole frame; `offset` as for `said`."""
    return unmasked(f'42/echo,["toclient",{{"msg":"{message(number, turn)}"}}{_argument(offset)}]'.encode())


def _argument(offset: str) -> str:
    return f',"{offset}"' if offset else ""
