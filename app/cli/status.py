"""`clusterkit status`: the nodes of a running cluster.

Asking for them is `api.py`'s, showing them `output.py`'s.
"""

from operator import itemgetter
from typing import Any

from .api import ask
from .output import say_json, say_table

COLUMNS = ("node", "url", "started", "connections", "state")


def show_status(url: str, *, as_json: bool) -> None:
    """Prints a row for each node. Raises ClusterKitError where no cluster answers."""
    answer = ask(url, "/api/nodes", "nodes")
    if as_json:
        say_json(answer)
        return
    say_table(COLUMNS, [_row(node) for node in sorted(answer["nodes"], key=itemgetter("url"))])


def _row(node: dict[str, Any]) -> tuple[object, ...]:
    state = "dead" if not node["alive"] else "draining" if node["draining"] else "alive"
    asked = " (asked)" if node["this"] else ""
    return node["node_id"], node["url"], node["started_at"], node["connections"], state + asked
