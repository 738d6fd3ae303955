"""Every error the kit raises on purpose.

    ClusterKitError
    ├── SettingsError          a setting is wrong; nothing was started
    ├── Refused                the caller's request is wrong; carries a `code` for the client
    │   ├── NicknameTaken
    │   ├── NoSuchMember
    │   └── NotConnected       no socket has that sid
    ├── Stale                  the socket's generation was taken by a newer connection, or Redis lost it
    └── StoreError             Redis could not do it
        ├── StoreUnavailable   certainly not done: nothing was sent, or Redis refused it
        ├── StoreOverloaded    certainly not done: too many appends are waiting
        └── OutcomeUnknown     sent, but no answer came in time; it may or may not be in the log

It holds no handling: each layer turns these into what its callers see.
"""


class ClusterKitError(Exception):
    """The root: `except ClusterKitError` catches what the kit raises and nothing else."""


class SettingsError(ClusterKitError):
    """A setting is wrong. The message names the variable, what was expected and what came."""


class Refused(ClusterKitError):
    """A request that is wrong and stays wrong when repeated."""

    code = "refused"

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code


class NicknameTaken(Refused):
    """Another member of the room has this nickname."""

    code = "nickname_taken"


class NoSuchMember(Refused):
    """Nobody in the room has this nickname."""

    code = "no_such_member"


class NotConnected(Refused):
    """No connected socket has this sid."""

    code = "not_connected"


class Stale(ClusterKitError):
    """The acting connection no longer owns its socket; it must be closed, not served."""


class StoreError(ClusterKitError):
    """Redis could not do what was asked."""


class StoreUnavailable(StoreError):
    """Not done: Redis was out of reach for the whole time limit, or refused the command."""


class StoreOverloaded(StoreError):
    """Not done: the queue of waiting appends is full."""


class OutcomeUnknown(StoreError):
    """Sent, but unanswered within the time limit: it may or may not have been done."""
