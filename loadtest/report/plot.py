"""Lines as inline SVG, over time or percentile. Colours and fonts are the page's CSS.

Nothing is drawn outside its axes, and a plot of nothing says so. Rows by name are `spread.py`'s.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from .axis import Axis
from .markup import Markup, element

# As many units as pixels on a page of usual width, so that all plots have letters of one size.
WIDTH, WIDE, HEIGHT, TALL = 540, 1110, 240, 300
LEFT, RIGHT, TOP, BOTTOM = 60, 16, 14, 30
# More points than pixels say nothing more, and make the file large.
POINTS_MAX = 600
# Tooltips: one strip each.
STRIPS_MAX = 180

Point = tuple[float, float | None]
Text = Callable[[float], str]


@dataclass(frozen=True)
class Series:
    """A line; a y of None is a gap. `look` is its CSS class. Of neighbours that are too many the highest stays."""

    label: str
    points: Sequence[Point]
    look: str
    filled: bool = False


@dataclass(frozen=True)
class Mark:
    """A level that means something: a limit, with its name."""

    y: float
    label: str


def nothing() -> Markup:
    """In place of a plot."""
    return element("p", "Nothing was measured.", class_="nothing")


@dataclass(frozen=True)
class Frame:
    """The room between two axes, in pixels."""

    x: Axis
    y: Axis
    wide: bool = False

    @property
    def right(self) -> int:
        """Where the x axis ends."""
        return (WIDE if self.wide else WIDTH) - RIGHT

    @property
    def base(self) -> int:
        """Where the x axis is."""
        return (TALL if self.wide else HEIGHT) - BOTTOM

    def across(self, value: float) -> float:
        """From the left."""
        return LEFT + max(0.0, min(1.0, self.x.scale(value))) * (self.right - LEFT)

    def down(self, value: float) -> float:
        """From the top."""
        return self.base - max(0.0, min(1.0, self.y.scale(value))) * (self.base - TOP)

    def svg(self, parts: Sequence[Markup], name: str) -> Markup:
        """The picture of all parts."""
        box = f"0 0 {self.right + RIGHT} {self.base + BOTTOM}"
        return element("svg", *parts, viewBox=box, role="img", aria_label=name, class_="plot")


def lines(
    series: Sequence[Series],
    x: Axis,
    y: Axis,
    y_text: Text,
    *,
    x_text: Text,
    marks: Sequence[Mark] = (),
    name: str = "",
    wide: bool = False,
) -> Markup:
    """The lines on their axes, with a tooltip for each x. `name` describes the plot to who cannot see it."""
    shown = [thinned(each) for each in series if any(value is not None for _, value in each.points)]
    if not shown:
        return nothing()
    frame = Frame(x, y, wide)
    parts = [*_grid(frame), *(part for each in shown for part in _line(each, frame))]
    parts += [part for each in marks for part in _mark(each, frame)]
    return frame.svg([*parts, *_strips(shown, frame, x_text, y_text)], name)


def thinned(series: Series) -> Series:
    """At most POINTS_MAX points, each for as many neighbours."""
    every = -(-len(series.points) // POINTS_MAX)
    if every <= 1:
        return series
    points: list[Point] = []
    for first in range(0, len(series.points), every):
        part = series.points[first : first + every]
        points.append((part[0][0], max((value for _, value in part if value is not None), default=None)))
    return Series(series.label, points, series.look, series.filled)


def _grid(frame: Frame) -> Iterator[Markup]:
    for value, label in frame.y.ticks:
        at = frame.down(value)
        yield element("line", x1=LEFT, x2=frame.right, y1=at, y2=at, class_="grid")
        yield element("text", label, x=LEFT - 8, y=at + 4, class_="tick end")
    for value, label in frame.x.ticks:
        at = frame.across(value)
        yield element("line", x1=at, x2=at, y1=frame.base, y2=frame.base + 4, class_="axis")
        yield element("text", label, x=at, y=frame.base + 18, class_="tick middle")
    yield element("line", x1=LEFT, x2=frame.right, y1=frame.base, y2=frame.base, class_="axis")


def _mark(mark: Mark, frame: Frame) -> Iterator[Markup]:
    at = frame.down(mark.y)
    yield element("line", x1=LEFT, x2=frame.right, y1=at, y2=at, class_="mark")
    # Under the line where there is no room above it.
    yield element("text", mark.label, x=LEFT + 6, y=at + (14 if at < TOP + 14 else -6), class_="mark")


def _line(series: Series, frame: Frame) -> Iterator[Markup]:
    for run in _runs(series.points):
        places = [(frame.across(at), frame.down(value)) for at, value in run]
        path = "M" + "L".join(f"{across:.1f} {down:.1f}" for across, down in places)
        if len(places) == 1:
            yield element("circle", cx=places[0][0], cy=places[0][1], r=3, class_=f"dot {series.look}")
            continue
        if series.filled:
            closed = f"{path}L{places[-1][0]:.1f} {frame.base}L{places[0][0]:.1f} {frame.base}Z"
            yield element("path", d=closed, class_=f"area {series.look}")
        yield element("path", d=path, class_=f"line {series.look}")


def _runs(points: Sequence[Point]) -> list[list[tuple[float, float]]]:
    """The parts between gaps."""
    runs: list[list[tuple[float, float]]] = [[]]
    for at, value in points:
        if value is not None:
            runs[-1].append((at, value))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _strips(series: Sequence[Series], frame: Frame, x_text: Text, y_text: Text) -> Iterator[Markup]:
    """Invisible, each with the values there as its tooltip."""
    by_x: dict[float, list[str]] = {}
    for each in series:
        for at, value in each.points:
            if value is not None:
                by_x.setdefault(at, []).append(f"{each.label}: {y_text(value)}")
    places = sorted(by_x)[:: -(-len(by_x) // STRIPS_MAX)]
    middles = [(frame.across(left) + frame.across(right)) / 2 for left, right in pairwise(places)]
    for at, (left, right) in zip(places, pairwise([LEFT, *middles, frame.right]), strict=True):
        said = element("title", "\n".join([x_text(at), *by_x[at]]))
        size = {"x": float(left), "y": TOP, "width": float(right - left), "height": frame.base - TOP}
        yield element("rect", said, class_="strip", **size)
