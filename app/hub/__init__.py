"""The python-socketio side: a client manager, a server that keeps clients' order, an emitter."""
