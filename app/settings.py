"""The settings: read once from the environment, checked whole, frozen.

What reads them: entry points only (`main`, `cli`), which hand values down. No module below imports an
instance. A wrong value is a `SettingsError` that names its variable, raised before a port is bound.
"""

import math
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from .errors import SettingsError

# The wheel of pings turns in ticks, and who has gone is told a moment later.
CONFIRMED_SPARE_S = 1
# Entries are kept somewhat longer than needed, since heartbeats tell by the second what was received.
LOG_SPARE_S = 5
# What the end of a node takes behind its connections': requests under way, the last appends, the registry.
STOP_SPARE_S = 6.0
DRAIN_SPREAD_SHARE = 0.7  # the rest is for the handlers that are told
REDIS_SCHEMES = ("redis", "rediss", "unix", "redis+sentinel")


class Settings(BaseSettings):
    """One table: name, default, unit and meaning. README.md repeats it, and a test compares the two."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    host: str = Field("127.0.0.1", min_length=1, description="Address the nodes listen on.")
    port: int = Field(8080, ge=1, le=65535, description="Port that all nodes of this machine share.")
    nodes: int = Field(3, ge=1, le=64, description="Nodes that `make up` starts.")
    private_url: str = Field(
        "",
        description="Where the other nodes reach this one alone; found by itself when empty. Of several gunicorn "
        "workers only the host, since each has its own port.",
    )

    redis_url: str = Field(
        "redis://127.0.0.1:6379/0",
        repr=False,
        description="`redis://`, `rediss://`, `unix://` or `redis+sentinel://host:port,host:port/service/db`.",
    )
    key_prefix: str = Field(
        "sio", pattern=r"^[A-Za-z0-9_.-]{1,64}$", description="What every key and channel begins with."
    )
    redis_timeout_s: float = Field(2.0, gt=0, le=60, description="Seconds one answer of Redis may take.")
    append_timeout_s: float = Field(
        15.0, gt=0, le=300, description="Seconds an append is repeated for while Redis does not answer."
    )
    append_queue_max: int = Field(
        10_000, ge=1, description="Appends that may wait in one node; one more is refused."
    )
    log_max_entries: int = Field(10_000, ge=10, description="Newest entries a room's log keeps.")
    recovery: Literal["off", "optin", "on"] = Field(
        "optin",
        description="Who can recover: nobody, clients that ask for it by `auth: {recover: true}`, or all.",
    )
    recovery_window_s: int = Field(
        120, ge=1, le=86_400, description="Seconds within which a client that lost its connection can recover."
    )
    recovery_max_entries: int = Field(
        5_000, ge=1, description="Entries that a client may have missed, in all its logs together, to recover."
    )
    leave_grace_s: float = Field(
        5.0, ge=0, le=3600, description="Seconds such a client stays a member of its rooms meanwhile."
    )
    sent_ids_max: int = Field(
        256, ge=1, le=10_000, description="Newest message ids of one client that are known, to send none twice."
    )
    sent_ids_ttl_s: int = Field(600, ge=1, le=86_400, description="Seconds they are known after the last of them.")
    lease_s: float = Field(
        5.0, ge=2, le=300, description="Seconds without a heartbeat after which a node counts as dead."
    )

    drain_notice_s: float = Field(
        0.0,
        ge=0,
        le=300,
        description="Seconds a node that is told to stop serves on, `/readyz` failing, so that balancers notice.",
    )
    drain_timeout_s: float = Field(
        9.0, ge=7, le=3600, description="Seconds within which a node that is told to stop has ended."
    )

    ping_interval_s: float = Field(25.0, gt=0, le=3600, description="Seconds between Engine.IO pings.")
    ping_timeout_s: float = Field(20.0, gt=0, le=3600, description="Seconds a client may take to answer.")
    max_message_bytes: int = Field(
        1_000_000, ge=1_000, le=100_000_000, description="Largest message or request body a client may send."
    )
    event_queue_max: int = Field(
        256, ge=1, description="Unhandled events one client may have before its reading is paused."
    )

    send_buffer_bytes: int = Field(
        1_000_000,
        ge=10_000,
        le=1_000_000_000,
        description="Bytes that may wait for a client that does not read, before it is cut off.",
    )

    locale: Literal["ko", "en"] = Field("ko", description="Language of the texts the server writes.")
    userlist_max: int = Field(500, ge=1, description="Names in one `userlist`; the rest is paged over HTTP.")
    allowed_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Other origins whose pages may connect, separated by commas; `*` allows all."
    )
    admin_token: str = Field(
        "", repr=False, description="Bearer token that `/api/*` and `/metrics` ask for where it is set."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="How much is logged.")

    @property
    def confirmed_after_s(self) -> float:
        """How old a delivery is that a client must have received, since it has answered a ping behind it.

        Its newest ping may be unanswered yet, and the one before may have been answered late.
        """
        return self.ping_interval_s + 2 * self.ping_timeout_s + CONFIRMED_SPARE_S

    @property
    def log_max_age_s(self) -> int:
        """How long entries are kept: for the recovery window, and what before it may not have been received."""
        return self.recovery_window_s + math.ceil(self.confirmed_after_s) + LOG_SPARE_S

    @property
    def drain_spread_s(self) -> float:
        """Over how many seconds a node that stops may spread the ends of its connections."""
        return DRAIN_SPREAD_SHARE * (self.drain_timeout_s - self.drain_notice_s - STOP_SPARE_S)

    @field_validator("drain_timeout_s")
    @classmethod
    def _leaves_time(cls, timeout_s: float, info: ValidationInfo) -> float:
        least = info.data.get("drain_notice_s", 0.0) + STOP_SPARE_S + 1
        if timeout_s < least:
            raise ValueError(f"expected at least {least:g}, DRAIN_NOTICE_S and {STOP_SPARE_S + 1:g} more")
        return timeout_s

    @field_validator("send_buffer_bytes")
    @classmethod
    def _holds_a_message(cls, size: int, info: ValidationInfo) -> int:
        message = info.data.get("max_message_bytes", 0)
        if size < message:
            raise ValueError(
                f"expected at least MAX_MESSAGE_BYTES, {message}: one message must not cut clients off"
            )
        return size

    @field_validator("redis_url")
    @classmethod
    def _known_scheme(cls, url: str) -> str:
        scheme = urlsplit(url).scheme
        if scheme not in REDIS_SCHEMES:
            expected = ", ".join(f"{known}://" for known in REDIS_SCHEMES)
            raise ValueError(f"expected a URL that begins with one of {expected}")
        return url

    @field_validator("private_url")
    @classmethod
    def _http_url(cls, url: str) -> str:
        parts = urlsplit(url)
        if url and (parts.scheme != "http" or not parts.hostname or parts.path not in ("", "/")):
            raise ValueError("expected http://host:port with nothing behind it")
        return url.rstrip("/")

    @field_validator("allowed_origins", mode="before")
    @classmethod
    def _split_origins(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip().rstrip("/") for part in value.split(",") if part.strip())
        return value

    @field_validator("allowed_origins")
    @classmethod
    def _are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            parts = urlsplit(origin)
            if origin != "*" and (not parts.scheme or not parts.netloc or parts.path):
                raise ValueError(f"expected origins like https://example.org, got {origin!r}")
        return origins


def load_settings(**overrides: object) -> Settings:
    """The environment's settings; `overrides` by field name win over it.

    Raises `SettingsError` with one line for each wrong variable.
    """
    try:
        return Settings(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(problem) for problem in error.errors())) from None


def _explain(problem: object) -> str:
    assert isinstance(problem, dict)
    name = str(problem["loc"][0]).upper() if problem["loc"] else "settings"
    shown = "***" if name == "ADMIN_TOKEN" or "REDIS_URL" in name else repr(problem.get("input"))
    return f"{name}: {problem['msg'].removeprefix('Value error, ')} (got {shown})"
