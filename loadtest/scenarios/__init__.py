"""What people do: each scenario one file, one kind of person, one locust tag of the file's name."""

from locust import User

from .broadcast import Broadcast
from .join_storm import JoinStorm
from .mixed import Mixed
from .reconnect_storm import ReconnectStorm
from .rename import Rename
from .soak import Soak
from .whisper import Whisper

DEFAULT = "broadcast"
# tag -> who
SCENARIOS: dict[str, type[User]] = {
    "broadcast": Broadcast,
    "whisper": Whisper,
    "join_storm": JoinStorm,
    "reconnect_storm": ReconnectStorm,
    "rename": Rename,
    "mixed": Mixed,
    "soak": Soak,
}
