"""Where the other nodes reach this one, as far as its settings say.

Where HOST is every address of the machine, the node fills in which one Redis sees it at (`cluster/nodes.py`), each
time that it connects there. Forwarding requests to that address is `transport/forwarding.py`'s work.
"""

from urllib.parse import urlsplit

from ..node import url_at
from ..settings import Settings


def private_url(settings: Settings, own_port: int | None) -> str:
    """http://host:port of this node alone: PRIVATE_URL, or HOST and the port."""
    return settings.private_url or url_at(settings.host, own_port or settings.port)


def private_url_of_several(settings: Settings, own_port: int) -> str:
    """The same for one of several nodes with the same settings: of PRIVATE_URL only the host is theirs."""
    return url_at(urlsplit(settings.private_url).hostname or settings.host, own_port)
