"""TLS over a stream's bytes, through `ssl`'s memory buffers: no socket is wrapped, so nothing can block.

Contexts are made once per process: one holds hundreds of kB of trusted certificates.
"""

import ssl
from functools import lru_cache

from . import hub
from .errors import ProtocolViolation, TlsFailed
from .owner import Owner
from .stream import Stream, Traffic

READ_BYTES = 65536


@lru_cache(maxsize=2)
def context(*, verified: bool) -> ssl.SSLContext:
    """The shared context; without `verified` any certificate will do."""
    made = ssl.create_default_context()
    if not verified:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    return made


class TlsStream(Stream):
    """A stream whose owner sees the bytes inside the TLS connection. `host`: whose certificate is expected."""

    __slots__ = ("_decrypted", "_host", "_incoming", "_open", "_outgoing")

    def __init__(
        self, owner: Owner, traffic: Traffic, source_ip: str | None, tls: ssl.SSLContext, host: str
    ) -> None:
        super().__init__(owner, traffic, source_ip)
        self._host = host
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._decrypted = tls.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._open = False

    def send(self, data: bytes) -> None:
        """As Stream's."""
        if self._open:
            self._decrypted.write(data)
            super().send(self._outgoing.read())

    def _connected(self) -> None:
        self._shake_hands()

    def _received(self, data: bytes, now_s: float) -> None:
        self._incoming.write(data)
        if not self._open and not self._shake_hands():
            return
        decrypted = self._decrypt()
        if self._outgoing.pending:  # a change of keys is answered
            super().send(self._outgoing.read())
        if decrypted and self._socket is not None:
            self.owner.received(decrypted, now_s)

    def _at_end(self) -> None:
        if self._open:
            super()._at_end()
        else:
            self._broke(TlsFailed(f"expected a TLS handshake with {self._host}, got the connection's end"))

    def _shake_hands(self) -> bool:
        try:
            self._decrypted.do_handshake()
        except ssl.SSLWantReadError:
            super().send(self._outgoing.read())
            return False
        except ssl.SSLCertVerificationError as error:
            self._broke(
                TlsFailed(
                    f"the certificate of {self._host} is not trusted: {error.verify_message}; "
                    "pass tls=False to trust any, or a context that trusts it"
                )
            )
            return False
        except ssl.SSLError as error:
            self._broke(TlsFailed(f"expected a TLS handshake with {self._host}, got: {error.reason or error}"))
            return False
        super().send(self._outgoing.read())
        self._open = True
        self.owner.opened()
        return True

    def _decrypt(self) -> bytes:
        parts: list[bytes] = []
        try:
            while part := self._decrypted.read(READ_BYTES):
                parts.append(part)
            hub.soon(self._at_end)  # the server ended TLS; what came before counts
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self._broke(ProtocolViolation(f"expected TLS records, got: {error.reason or error}"))
            return b""
        return parts[0] if len(parts) == 1 else b"".join(parts)
