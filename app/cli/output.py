"""What commands print: coloured lines and tables on a terminal, plain ones elsewhere.

Errors are not printed here: commands raise them, and `main()` ends with them.
"""

import json
import sys
from collections.abc import Sequence


def say(text: str, style: str = "") -> None:
    """One line on stdout, written at once. `style` is rich's and shows on a terminal only."""
    try:
        if sys.stdout.isatty():
            _say_in_style(text, style)
        else:
            print(text, flush=True)
    except OSError:
        # Nobody reads any more (`make up | head -1`, a closed terminal); a cluster that runs goes on.
        sys.stdout = sys.__stderr__ or sys.stdout


def say_json(value: object) -> None:
    """`value` as indented JSON, which people can read and jq too."""
    print(json.dumps(value, ensure_ascii=False, indent=2))


def say_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table with a heading; plain columns, two blanks apart, where stdout is no terminal."""
    cells = [[printable(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _say_rich_table(columns, cells)
        return
    widths = [max(len(row[i]) for row in [columns, *cells]) for i in range(len(columns))]
    for row in [columns, *cells]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def printable(cell: object) -> str:
    """`cell` as text that cannot steer the terminal: users choose room names, and logs quote them."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in str(cell))


def _say_in_style(text: str, style: str) -> None:
    from rich.console import Console
    from rich.text import Text

    Console(soft_wrap=True).print(Text(text, style))


def _say_rich_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)
