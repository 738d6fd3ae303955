"""Settings: wrong ones are named, secrets are not shown, and README.md has each with its default."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from app.errors import SettingsError
from app.settings import CONFIRMED_SPARE_S, LOG_SPARE_S, Settings, load_settings
from app.store.redis import Store

README = Path(__file__).resolve().parents[1] / "README.md"
ROW = re.compile(r"^\| `([A-Z][A-Z0-9_]*)` \|([^|]*)\|", re.MULTILINE)

# One wrong value for every setting that can be wrong.
WRONG = {
    "HOST": None,
    "PORT": "0",
    "NODES": "0",
    "PRIVATE_URL": "https://10.0.0.1:8081",
    "REDIS_URL": "http://127.0.0.1:6379",
    "KEY_PREFIX": "a b",
    "REDIS_TIMEOUT_S": "0",
    "APPEND_TIMEOUT_S": "-1",
    "APPEND_QUEUE_MAX": "0",
    "LOG_MAX_ENTRIES": "9",
    "RECOVERY": "maybe",
    "RECOVERY_WINDOW_S": "0",
    "RECOVERY_MAX_ENTRIES": "0",
    "LEAVE_GRACE_S": "-1",
    "SENT_IDS_MAX": "0",
    "SENT_IDS_TTL_S": "0",
    "LEASE_S": "0",
    "DRAIN_NOTICE_S": "-1",
    "DRAIN_TIMEOUT_S": "1",
    "PING_INTERVAL_S": "0",
    "PING_TIMEOUT_S": "never",
    "MAX_MESSAGE_BYTES": "10",
    "EVENT_QUEUE_MAX": "0",
    "SEND_BUFFER_BYTES": "9999",
    "LOCALE": "fr",
    "USERLIST_MAX": "0",
    "ALLOWED_ORIGINS": "example.org",
    "ADMIN_TOKEN": None,
    "LOG_LEVEL": "loud",
}


@pytest.fixture(autouse=True)
def _no_settings_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for field in Settings.model_fields:
        monkeypatch.delenv(field.upper(), raising=False)


def test_every_setting_has_a_wrong_value_in_this_test() -> None:
    assert set(WRONG) == {field.upper() for field in Settings.model_fields}


@pytest.mark.parametrize(("variable", "value"), [(name, value) for name, value in WRONG.items() if value])
def test_a_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=rf"^{variable}: .*\(got ") as error:
        load_settings()
    assert len(str(error.value).splitlines()) == 1


def test_all_wrong_variables_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {variable: value for variable, value in WRONG.items() if value}
    for variable, value in wrong.items():
        monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as error:
        load_settings()
    assert {line.partition(":")[0] for line in str(error.value).splitlines()} == set(wrong)


@pytest.mark.parametrize(
    "url",
    [
        "http://admin:hunter2@127.0.0.1:6379",
        "hunter2",
        "redis//:hunter2@127.0.0.1",
        "postgres://u:hunter2@[::1",
        "http://:hunter2[@127.0.0.1",
    ],
)
def test_a_wrong_redis_url_does_not_show_its_password(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("REDIS_URL", url)
    with pytest.raises(SettingsError, match=r"^REDIS_URL: ") as error:
        load_settings()
    assert "hunter2" not in str(error.value)
    assert error.value.__cause__ is None
    assert error.value.__suppress_context__


def test_a_wrong_admin_token_is_not_shown() -> None:
    with pytest.raises(SettingsError, match=r"^ADMIN_TOKEN: ") as error:
        load_settings(admin_token=["hunter2"])
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize(
    "url", ["redis://:hunter/2@127.0.0.1:6379/0", "redis+sentinel://:hunter/2@127.0.0.1:26379/service"]
)
def test_a_password_that_is_not_escaped_is_not_shown_by_the_store(url: str) -> None:
    with pytest.raises(SettingsError, match=r"^REDIS_URL: ") as error:
        Store(url, 1.0)
    assert "hunter" not in str(error.value)


def test_settings_printed_for_debugging_do_not_show_secrets() -> None:
    settings = load_settings(admin_token="hunter2", redis_url="redis://:hunter3@127.0.0.1/0")
    assert "hunter" not in repr(settings)


def test_settings_are_frozen() -> None:
    settings = load_settings()
    with pytest.raises(ValidationError, match="frozen"):
        settings.port = 1  # type: ignore[misc]


def test_an_empty_variable_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for field in Settings.model_fields:
        monkeypatch.setenv(field.upper(), "")
    assert load_settings() == Settings.model_construct()


def test_a_variable_that_is_no_setting_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTS", "many")
    assert load_settings().port == 8080


def test_an_override_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "9000")
    assert load_settings().port == 9000
    assert load_settings(port=9001).port == 9001


@pytest.mark.parametrize(
    ("text", "origins"),
    [
        ("https://a.example", ("https://a.example",)),
        ("https://a.example,https://b.example:8443", ("https://a.example", "https://b.example:8443")),
        (" https://a.example/ , ,http://b.example,", ("https://a.example", "http://b.example")),
        ("*", ("*",)),
        (",", ()),
    ],
)
def test_allowed_origins_are_separated_by_commas(
    monkeypatch: pytest.MonkeyPatch, text: str, origins: tuple[str, ...]
) -> None:
    monkeypatch.setenv("ALLOWED_ORIGINS", text)
    assert load_settings().allowed_origins == origins


@pytest.mark.parametrize("text", ["example.org", "https://a.example/path", "https://a.example,b", "//a.example"])
def test_what_is_no_origin_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("ALLOWED_ORIGINS", text)
    with pytest.raises(SettingsError, match="ALLOWED_ORIGINS: expected origins like"):
        load_settings()


def test_a_send_buffer_holds_the_largest_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_MESSAGE_BYTES", "2000000")
    with pytest.raises(SettingsError, match=r"^SEND_BUFFER_BYTES: .*MAX_MESSAGE_BYTES, 2000000"):
        load_settings()
    monkeypatch.setenv("SEND_BUFFER_BYTES", "2000000")
    assert load_settings().send_buffer_bytes == 2_000_000


def test_a_delivery_is_confirmed_by_the_answer_to_the_first_ping_that_leaves_behind_it() -> None:
    settings = load_settings(ping_interval_s=25, ping_timeout_s=20)
    # At the latest: one that left just before it is answered, the next one leaves, and is answered.
    assert settings.confirmed_after_s == 20 + 25 + 20 + CONFIRMED_SPARE_S


def test_entries_are_kept_for_the_recovery_window_and_for_what_was_not_confirmed_when_it_began() -> None:
    settings = load_settings(recovery_window_s=60, ping_interval_s=2.5, ping_timeout_s=1.2)
    assert settings.confirmed_after_s == pytest.approx(4.9 + CONFIRMED_SPARE_S)
    assert settings.log_max_age_s == 60 + 6 + LOG_SPARE_S


@pytest.mark.parametrize("url", ["http://127.0.0.1:8081/x", "ftp://127.0.0.1", "http://", "127.0.0.1:8081"])
def test_a_private_url_is_http_host_and_port(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("PRIVATE_URL", url)
    with pytest.raises(SettingsError, match="PRIVATE_URL: expected http://host:port"):
        load_settings()


def documented() -> Iterator[tuple[str, str]]:
    """(name, default) of each row of README.md's table, the default without its back-ticks."""
    for name, default in ROW.findall(README.read_text()):
        yield name, default.strip().strip("`").strip()


def as_text(default: Any) -> str:
    """A default as one would write it into the environment."""
    if isinstance(default, tuple):
        return ",".join(default)
    return f"{default:g}" if isinstance(default, float) else str(default)


def meant(text: str, default: Any) -> str:
    """What README.md says, in the same form: numbers may be written as 10,000 or 5.0."""
    if isinstance(default, int | float):
        number = text.replace(",", "").replace("_", "")
        return f"{float(number):g}" if isinstance(default, float) else number
    return "" if text.lower() in ("(empty)", "empty", "none", "-", "–", '""') else text


def test_every_setting_is_in_the_readmes_table_and_nothing_else_is() -> None:
    names = [name for name, _ in documented()]
    assert sorted(names) == sorted(field.upper() for field in Settings.model_fields)


def test_the_readmes_defaults_are_the_settings_defaults() -> None:
    said = dict(documented())
    defaults = {name.upper(): field.default for name, field in Settings.model_fields.items()}
    assert {name: meant(said.get(name, "not there"), value) for name, value in defaults.items()} == {
        name: as_text(value) for name, value in defaults.items()
    }
