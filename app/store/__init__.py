"""Redis: connections, keys and Lua. It knows nothing of sockets, rooms' meaning or packets."""
