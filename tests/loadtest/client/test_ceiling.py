"""The command that measures the client's ceiling measures something, and loses nothing of it."""

import pytest

from loadtest.client.ceiling import measure
from loadtest.client.client import TransportName


@pytest.mark.parametrize("transport", ["websocket", "polling"])
@pytest.mark.parametrize("coalesce", [1, 16])
def test_everything_that_is_written_is_received_in_order(transport: TransportName, coalesce: int) -> None:
    measured = measure(20, coalesce, transport, 0.3)
    assert measured.deliveries >= 20 * coalesce
    assert measured.deliveries >= measured.reads
    assert measured.out_of_order == 0
    assert 0 < measured.cpu_s <= measured.took_s * 1.5
    assert "%" in str(measured)
