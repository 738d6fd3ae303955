"""Long work that lets others go on meanwhile: it calls a `pause` between its parts, which is its caller's."""

from collections.abc import Callable

Pause = Callable[[], object]


def without_pause() -> None:
    """For work that may take all of its time at once."""
