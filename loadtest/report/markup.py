"""HTML and SVG elements: every text and attribute is escaped here, and nowhere else."""

from collections.abc import Iterable
from html import escape

VOID = frozenset({"meta", "br", "line", "path", "rect", "circle", "polyline", "col"})


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


def element(name: str, /, *children: str, **attributes: object) -> Markup:
    """`<name ...>children</name>`. A trailing underscore of an attribute goes, others become hyphens.

    Children that are not Markup are text and are escaped. An attribute that is None is left out.
    """
    # Of control characters XML knows only these; a hostile text may have any.
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(clean(_plain(value)))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in VOID and not children:
        return Markup(f"<{name}{written}/>")
    return Markup(f"<{name}{written}>{joined(children)}</{name}>")


def joined(children: Iterable[str]) -> Markup:
    """One after the other; what is not Markup is escaped."""
    return Markup("".join(each if isinstance(each, Markup) else escape(clean(each)) for each in children))


def clean(text: str) -> str:
    """Without characters that no HTML or XML may contain."""
    return "".join(
        c
        if c in "\t\n\r" or (c >= " " and not "\ud800" <= c <= "\udfff" and c not in "\ufffe\uffff")
        else "\ufffd"
        for c in text
    )


def _plain(value: object) -> str:
    """Coordinates with a tenth of a pixel: enough to look at, and short."""
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)
