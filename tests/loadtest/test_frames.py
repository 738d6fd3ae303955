"""Frames as RFC 6455, section 5.2 has them."""

import pytest

from loadtest.bench.client.frames import MASK, frame_at, masked, texts, unmasked

SIZES = [0, 1, 125, 126, 65_535, 65_536]


@pytest.mark.parametrize("size", SIZES)
def test_a_servers_frame_is_found_again(size: int) -> None:
    payload = b"p" * size
    assert list(texts(unmasked(payload) * 2)) == [
        (payload, len(unmasked(payload))),
        (payload, len(unmasked(payload)) * 2),
    ]


@pytest.mark.parametrize("size", SIZES)
def test_a_frame_that_is_not_all_there_is_not_found(size: int) -> None:
    frame = unmasked(b"p" * size)
    for end in {0, 1, 2, 3, len(frame) // 2, len(frame) - 1}:
        if end < len(frame):
            assert frame_at(frame, 0, end) is None


@pytest.mark.parametrize("size", SIZES)
def test_a_clients_frame_is_masked(size: int) -> None:
    payload = bytes(range(256)) * (size // 256 + 1)
    frame = masked(payload[:size])
    assert frame[1] & 0x80
    body = frame[len(frame) - size :]
    assert frame[len(frame) - size - 4 : len(frame) - size] == MASK
    assert bytes(byte ^ MASK[at % 4] for at, byte in enumerate(body)) == payload[:size]
