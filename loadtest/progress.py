"""One line about the newest second of a run, for a terminal."""

from collections.abc import Mapping

from .measure.results import Moment


def progress_line(moment: Moment, counters: Mapping[str, int]) -> str:
    """`35 s: 500 connected, 20 sent/s, 10,000 delivered/s, fan-out p50 3 ms, p99 8 ms`, and what went wrong."""
    parts = [
        f"{moment.connections:,} connected{joined_text(counters)}",
        f"{moment.sends:,} sent/s",
        f"{moment.deliveries:,} delivered/s",
    ]
    if moment.p50_us is not None and moment.p99_us is not None:
        parts.append(f"fan-out p50 {moment.p50_us / 1000:.1f} ms, p99 {moment.p99_us / 1000:.1f} ms")
    wrong = {name: counters.get(name, 0) for name in ("connect_failures", "reconnects", "refused")}
    parts += [f"{count:,} {name.replace('_', ' ')}" for name, count in wrong.items() if count]
    if moment.cpu_max is not None and moment.cpu_max > 0.8:
        parts.append(f"busiest generator at {moment.cpu_max:.0%} of a core")
    return f"{moment.second} s: " + ", ".join(parts)


def joined_text(counters: Mapping[str, int]) -> str:
    """` (3 of 500 users have not joined yet)`; nothing once all have."""
    users, joined = counters.get("users", 0), counters.get("joined", 0)
    return f" ({users - joined:,} of {users:,} users have not joined yet)" if joined < users else ""
