"""Bytes inside JSON, for the line protocol between js_client.py and js_client.mjs.

Bytes become {"__bytes__": "<base64>"} and come back as bytes; everything else stays what JSON makes of it.
"""

import base64
from typing import Any

TAG = "__bytes__"


def tagged(value: Any) -> Any:
    """`value` with every bytes in it tagged, and tuples as lists: fit for JSON."""
    if isinstance(value, bytes | bytearray | memoryview):
        return {TAG: base64.b64encode(value).decode()}
    if isinstance(value, dict):
        return {key: tagged(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [tagged(each) for each in value]
    return value


def untagged(value: Any) -> Any:
    """The inverse of `tagged`, for what JSON has parsed."""
    if isinstance(value, dict):
        if len(value) == 1 and isinstance(value.get(TAG), str):
            return base64.b64decode(value[TAG])
        return {key: untagged(each) for key, each in value.items()}
    if isinstance(value, list):
        return [untagged(each) for each in value]
    return value
