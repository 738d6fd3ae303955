"""A lean Socket.IO v5 client on gevent: receives in bulk, with no greenlet per connection. See `client.py`."""
