"""Numbers as people read them. None, for what was not measured, is a dash."""

NOTHING = "–"


def time_text(us: float | None, *, digits: int = 3) -> str:
    """µs in the unit that suits: `850 µs`, `12.3 ms`, `4.2 s`, `125 s`."""
    if us is None:
        return NOTHING
    for unit, size in (("s", 1e6), ("ms", 1e3)):
        if abs(us) >= size:
            value = us / size
            return f"{value:,.0f} {unit}" if abs(value) >= 10**digits - 0.5 else f"{value:.{digits}g} {unit}"
    return f"{us:.0f} µs"


def count_text(value: float | None) -> str:
    """`1,234`, or `12.5` for what is no whole number."""
    if value is None:
        return NOTHING
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 1000 else f"{value:,.1f}"


def short_text(value: float) -> str:
    """For an axis: `1.5k`, `20k`, `3M`."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= size:
            return f"{value / size:.4g}{unit}"
    return f"{value:.4g}"


def share_text(share: float | None) -> str:
    """A share of one core, or of a whole: `37 %`."""
    return NOTHING if share is None else f"{share:.0%}".replace("%", " %")


def bytes_text(count: float | None) -> str:
    """`512 B`, `1.5 kB`, `20 MB`."""
    if count is None:
        return NOTHING
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if abs(count) >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.0f} B"


def duration_text(seconds: float) -> str:
    """`45 s`, `3 min 20 s`, `2 h 5 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.3g} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
