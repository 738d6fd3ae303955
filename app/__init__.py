"""A horizontally scaled Socket.IO cluster kit: one ordered log for each room, in Redis."""
