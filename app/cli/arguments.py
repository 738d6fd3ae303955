"""Arguments that need more than a type: reads them, and says where they are wrong.

Settings are not read here: `app.settings` does.
"""

import json

import typer


def json_argument(text: str) -> object:
    """The value that `text` writes in JSON. Raises BadParameter with the place of the first mistake."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise typer.BadParameter(f"not JSON: {error.msg} at {where} of {text!r}") from None
