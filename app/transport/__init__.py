"""Bytes and connections: Engine.IO, the fan-out, and forwarding to other nodes. It knows nothing of rooms."""
