"""The `clusterkit` command: names the commands and their options, and turns errors into exit codes.

It does no work itself: each command's module is imported when it is called, so that a node does not load
what only `up` needs. Exit codes: 0 done, 1 failed, 2 wrong usage or a wrong setting, 130 forced by Ctrl-C.
"""

import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from ..errors import ClusterKitError, SettingsError
from .arguments import json_argument

FAILED = 1
WRONG_USAGE = 2
INTERRUPTED = 130

commands = typer.Typer(
    name="clusterkit",
    help="A horizontally scaled Socket.IO cluster. Settings come from the environment; see README.md.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    # Boxes and colours are for people; a pipe or a log gets plain lines.
    rich_markup_mode="rich" if sys.stdout.isatty() else None,
)

App = Annotated[str, typer.Option(hidden=True, metavar="MODULE:FACTORY")]
RunDirectory = Annotated[Path, typer.Option("--run-dir", help="Folder for logs and Redis' files.")]
Url = Annotated[str, typer.Option(help="A node of the cluster.", show_default="http://HOST:PORT")]
Json = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]
DEFAULT_APP = "app.main:create_app"
DEFAULT_RUN_DIR = Path(".run")


@commands.command()
def up(
    run_dir: RunDirectory = DEFAULT_RUN_DIR,
    with_parent: Annotated[
        bool, typer.Option("--with-parent", help="Stop when the process that started this one does.")
    ] = False,
    app: App = DEFAULT_APP,
) -> None:
    """Run a whole cluster on this machine.

    That is a Redis, and NODES nodes that share PORT. Node i also listens alone on PORT+i. REDIS_URL names a
    Redis to use; without it one is started, whose data last as long as this cluster. Ctrl-C or SIGTERM stops
    everything; a second Ctrl-C does so at once.
    """
    from .up import run_cluster

    run_cluster(run_dir=run_dir, app_path=app, with_parent=with_parent)


@commands.command()
def serve(
    own_port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="A port for this node alone, by which the others reach it."),
    ] = None,
    app: App = DEFAULT_APP,
) -> None:
    """Run one node in this process, on HOST:PORT.

    Several nodes may share PORT. SIGTERM or Ctrl-C closes the connections, so that clients go elsewhere,
    and ends with exit code 0.
    """
    from .serve import serve_node

    serve_node(own_port=own_port, app_path=app)


@commands.command()
def status(url: Url = "", json: Json = False) -> None:
    """Show the nodes of a running cluster."""
    from .status import show_status

    show_status(url, as_json=json)


@commands.command()
def rooms(
    url: Url = "",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many rooms to show.")] = 100,
    offset: Annotated[int, typer.Option(min=0, help="How many rooms to pass over first.")] = 0,
    json: Json = False,
) -> None:
    """Show the rooms of a running cluster that have members."""
    from .rooms import show_rooms

    show_rooms(url, limit=limit, offset=offset, as_json=json)


@commands.command()
def drain(
    node: Annotated[str, typer.Argument(metavar="NODE", help="The node's id, as `clusterkit status` shows it.")],
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait until it is gone; 0: do not wait.")] = 60.0,
    run_dir: RunDirectory = DEFAULT_RUN_DIR,
) -> None:
    """End one node as SIGTERM would: its clients go to the others.

    What had started it (`clusterkit up`, gunicorn, compose) starts another in its place. The order goes through
    Redis, as `emit` does.
    """
    from .drain import drain_node

    drain_node(node, wait_s=wait, run_dir=run_dir)


@commands.command()
def emit(
    room: Annotated[str, typer.Argument(metavar="ROOM", help="The room, or a socket's sid.")],
    event: Annotated[str, typer.Argument(metavar="EVENT", help="The event's name.")],
    data: Annotated[object, typer.Argument(metavar="JSON", parser=json_argument, help="What it carries.")],
    namespace: Annotated[str, typer.Option(help="The namespace of the room.")] = "/",
    run_dir: RunDirectory = DEFAULT_RUN_DIR,
) -> None:
    """Send an event to everybody in a room.

    It goes through Redis; without REDIS_URL that is the Redis that `clusterkit up` started for HOST:PORT.
    """
    from .emit import send_event

    send_event(room, event, data, namespace=namespace, run_dir=run_dir)


def main() -> None:
    """The console script: runs the command of `sys.argv`."""
    try:
        commands(prog_name="clusterkit")
    except SettingsError as error:
        _end(error, WRONG_USAGE)
    except ClusterKitError as error:
        _end(error, FAILED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _end(error: ClusterKitError, code: int) -> NoReturn:
    print(f"clusterkit: {error}", file=sys.stderr, flush=True)
    sys.exit(code)
