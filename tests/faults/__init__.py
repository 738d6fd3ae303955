"""`make faults`: a cluster is broken on purpose while forty clients talk, and what each of them saw is checked.

`run.py` puts a run together: Redis, nodes and haproxy (`proxy.py`), clients (`crowd.py`), a seeded schedule of
faults (`schedule.py`, done by `injector.py`). What the clients saw is kept in `record.py` and judged by the pure
functions of `order.py`, `checks.py` and `rosters.py`; `verdict.py` is the line that is printed.
"""
