"""The bench's own arithmetic, its load client, and one short run of it."""
