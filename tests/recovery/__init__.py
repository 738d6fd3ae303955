"""Connection state recovery, as clients see it: real nodes, a real Redis, stock and hand-made clients.

`door.py` is the way to the nodes that a test can cut, `people.py` what stock clients do and have seen,
`visitor.py` a client by hand that reads only what it is told to.
"""
