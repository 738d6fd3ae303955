"""`make bench`: the kit beside stock python-socketio and Node's socket.io, on this machine, in one table.

`command.py` is what runs, `run.py` starts contenders and clients in turn, `client/` is the load, `figures.py`
and `report.py` make the table. It measures one node; what several nodes do together is tested in
`tests/`, not measured here.
"""
