"""The load client: one process of raw sockets and one epoll, pinned to a core of its own.

It is Python, and outruns its contenders by doing no work for each message at an ordinary member: `bulk.py`
counts bytes. What that could overlook, `witness.py` checks in full at a few members.
"""
