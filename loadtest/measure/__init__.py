"""What a run measured: histograms, who must have received what, figures by name, and how far to trust them.

Plain Python without sockets or locust: a generator process records, `to_wire()` makes a dict of plain values
and bytes of it, and the process that collects them merges those.
"""
