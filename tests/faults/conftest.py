"""The mark of the runs that check the checker."""

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Know it."""
    config.addinivalue_line("markers", "sabotaged: the nodes lack something that the checker must miss")
