"""A row for each name, from its low to its high value, as inline SVG."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .axis import Axis
from .markup import Markup, element, joined
from .plot import BOTTOM, RIGHT, TOP, WIDTH, nothing

ROW_HEIGHT = 30
ROWS_MAX = 40
NAME_LENGTH_MAX = 18
# For the values beside a row's right end.
VALUES_WIDTH = 130


@dataclass(frozen=True)
class Span:
    """A row of a spread: a name, and two values of it, the second not less."""

    name: str
    low: float
    high: float


def spread(spans: Sequence[Span], x: Axis, text: Callable[[float], str], *, name: str = "") -> Markup:
    """A row for each name, from its low to its high value."""
    if not spans:
        return nothing()
    shown = spans[:ROWS_MAX]
    left = 20 + 8 * min(NAME_LENGTH_MAX, max(len(each.name) for each in shown))
    width = WIDTH - left - RIGHT - VALUES_WIDTH
    height = TOP + len(shown) * ROW_HEIGHT + BOTTOM
    parts = []
    for value, label in x.ticks:
        at = left + x.scale(value) * width
        parts.append(element("line", x1=at, x2=at, y1=TOP, y2=height - BOTTOM, class_="grid"))
        parts.append(element("text", label, x=at, y=height - BOTTOM + 18, class_="tick middle"))
    for row, each in enumerate(shown):
        parts += _span(each, left, width, TOP + (row + 0.5) * ROW_HEIGHT, x, text)
    left_out = (
        [] if len(spans) == len(shown) else [element("p", f"and {len(spans) - len(shown)} more", class_="nothing")]
    )
    svg = element("svg", *parts, viewBox=f"0 0 {WIDTH} {height}", role="img", aria_label=name, class_="plot")
    return joined([svg, *left_out])


def _span(span: Span, left: float, width: float, at: float, x: Axis, text: Callable[[float], str]) -> list[Markup]:
    low, high = left + x.scale(span.low) * width, left + x.scale(span.high) * width
    short = span.name if len(span.name) <= NAME_LENGTH_MAX else span.name[: NAME_LENGTH_MAX - 1] + "…"
    return [
        element("text", short, element("title", span.name), x=left - 12, y=at + 4, class_="tick end"),
        element("line", x1=low, x2=high, y1=at, y2=at, class_="span s1"),
        element("circle", cx=low, cy=at, r=5, class_="dot s1"),
        element("circle", cx=high, cy=at, r=5, class_="dot s3"),
        element("text", f"{text(span.low)} · {text(span.high)}", x=high + 10, y=at + 4, class_="tick"),
    ]
