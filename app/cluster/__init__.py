"""The ordered log: appending to it, listening to it, and what the cluster knows of sockets, rooms and nodes."""
