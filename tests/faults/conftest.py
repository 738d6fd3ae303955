"""The marks by which the runs, which take minutes, are selected or left out."""

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Know them."""
    config.addinivalue_line("markers", "faults: a cluster is broken on purpose for a minute or more")
    config.addinivalue_line("markers", "sabotaged: the nodes lack something that the checker must miss")
