"""`clusterkit rooms`: the rooms of a running cluster that have members.

Asking for them is `api.py`'s, showing them `output.py`'s.
"""

from .api import ask
from .output import say, say_json, say_table

COLUMNS = ("namespace", "room", "members")


def show_rooms(url: str, *, limit: int, offset: int, as_json: bool) -> None:
    """Prints a row for each room, `limit` of them after the first `offset`, then how many there are."""
    answer = ask(url, f"/api/rooms?limit={limit}&offset={offset}", "rooms")
    if as_json:
        say_json(answer)
        return
    rooms = answer["rooms"]
    say_table(COLUMNS, [(room["namespace"], room["room"], room["members"]) for room in rooms])
    say(f"{len(rooms)} of {answer['total']} rooms")
