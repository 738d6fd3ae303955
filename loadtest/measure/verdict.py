"""Was it the generator that was slow? VALID or INVALID, why, and what to do.

A latency that the generator adds itself is measured like one of the server's. So a run counts only if its
generators had time to spare: a core to themselves, a loop that came to its timers, sends that left when they
were meant to. A single hiccup makes a warning, not an INVALID: it must show in `BAD_SECONDS_MIN` seconds at
least, and in `BAD_SECONDS_SHARE` of those with load; or be long enough to be the p99. And a run counts only with
the load that was asked for: everybody in their room, and messages that the server has taken.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from .histogram import Histogram

# One long pause (garbage, another process, a disk) falls into one second or, at its border, two.
BAD_SECONDS_MIN = 2
BAD_SECONDS_SHARE = 0.05
# With less than a tenth of a core to spare, what arrives in a burst waits in the kernel until it is read.
BUSY_SHARE = 0.90
# It wanted all of a core and did not get it: others ran there, or a quota ended its turn. Where it hardly
# waited, it is busy rather than starved.
STARVED_SHARE = 0.95
STARVED_WAIT_SHARE = 0.10
# Below this no latency of interest is changed; timers and the scheduler alone make 1 or 2 ms of lag.
LAG_FLOOR_US = 10_000
# Where the lag's p99 is so great a part of the fan-out's p99, that p99 is the generator's.
LAG_SHARE = 0.5
LAG_SHARE_TOLD = 1 / 3
# Whatever the server's latency: a queue in the generator looks like one in the server, so that the half above
# grows with it. A quota of a core (cgroup) shows as stalls of up to its period of 100 ms.
LAG_CEILING_US = 50_000
# Open loop: the schedule is no longer kept, the load is not the one that was asked for.
LATENESS_US = 20_000
# Deliveries that came before they were sent, by the clocks: more than these, and the clocks are the figure.
BELOW_ZERO_SHARE = 0.01
# Messages that were due while their sender had no connection: told, and too many to call it the load asked for.
NOT_SENT_TOLD = 0.05
NOT_SENT_MAX = 0.5
# What a generator should use at most: the advice on how many to take aims at it.
COMFORTABLE_SHARE = 0.6


@dataclass(frozen=True, slots=True)
class HealthSecond:
    """One second of one generator process; shares of one core, None where they are not known."""

    second: int
    cpu: float | None
    wait: float | None
    lag_max_us: int
    lateness_max_us: int
    deliveries: int
    sends: int
    connects: int = 0


@dataclass(frozen=True, slots=True)
class WorkerHealth:
    """One generator process over the run. `finished`: its last report came; `late`: it came during the run."""

    name: str
    seconds: Sequence[HealthSecond]
    loop_lag: Histogram
    send_lateness: Histogram
    finished: bool = True
    late: bool = False

    @property
    def loaded(self) -> list[HealthSecond]:
        """The seconds in which it sent or received; if there are none, those in which people came; or all."""
        talking = [each for each in self.seconds if each.deliveries or each.sends]
        return talking or [each for each in self.seconds if each.connects] or list(self.seconds)


@dataclass(frozen=True, slots=True)
class Verdict:
    """`reasons` are empty if and only if it is valid. All texts are whole sentences."""

    reasons: Sequence[str] = ()
    advice: Sequence[str] = ()
    warnings: Sequence[str] = ()

    @property
    def valid(self) -> bool:
        """Whether the figures are the server's."""
        return not self.reasons

    @property
    def word(self) -> str:
        """VALID or INVALID."""
        return "VALID" if self.valid else "INVALID"


@dataclass(frozen=True, slots=True)
class Main:
    """The latency that a run is about, with its name: what a slow generator would distort."""

    what: str
    latency: Histogram


def verdict_on(
    workers: Sequence[WorkerHealth],
    fanout: Histogram,
    counters: Mapping[str, int] | None = None,
    *,
    measured: bool = True,
    connecting: Histogram | None = None,
) -> Verdict:
    """The verdict on a run whose deliveries took `fanout`; `measured`: it has any latency.

    `counters`: those of its end; None while it runs. `connecting`: what connecting took, which counts where
    nothing was delivered.
    """
    main = Main("deliveries", fanout) if fanout.count or connecting is None else Main("connecting", connecting)
    if not workers:
        return Verdict(("No generator reported anything about itself.",), ("Look at the workers' logs.",))
    reasons = [reason for worker in workers for reason in _reasons(worker, main)]
    reasons += _clock_reasons(fanout)
    advice = list(_advice(workers, reasons)) if reasons else []
    if not reasons and not measured:
        reasons.append("Not one connection, acknowledgement or delivery was measured: there is nothing to judge.")
        advice.append("Look at the errors: does the server run, and at this address?")
    if missing := list(_load_reasons(counters or {})):
        reasons += missing
        advice.append("Look at the errors and at the server's log; then --connect-timeout, or less load.")
    if reasons:
        return Verdict(tuple(reasons), tuple(advice))
    hiccups = (text for worker in workers for text in _hiccups(worker))
    return Verdict(warnings=(*hiccups, *_closeness(workers, main), *_unsent(counters or {}, NOT_SENT_TOLD)))


def is_bad(bad_seconds: int, worker: WorkerHealth) -> bool:
    """Whether so many seconds are more than a hiccup."""
    return bad_seconds >= max(BAD_SECONDS_MIN, math.ceil(BAD_SECONDS_SHARE * len(worker.loaded)))


def _reasons(worker: WorkerHealth, main: Main) -> Iterator[str]:
    of = f"of {len(worker.loaded)} s"
    if not worker.finished:
        last = worker.seconds[-1].second if worker.seconds else 0
        yield f"{worker.name}: its last report is missing, nothing is known of it after second {last}."
    if worker.late:
        yield (
            f"{worker.name}: it joined when the run had begun, and got people who had their places elsewhere: "
            "the load was not the one asked for."
        )
    if not worker.seconds:
        yield f"{worker.name}: it reported no second of the run."
    busy = [each for each in worker.loaded if (each.cpu or 0) > BUSY_SHARE]
    if is_bad(len(busy), worker):
        rate = sum(each.deliveries for each in busy) / len(busy)
        yield (
            f"{worker.name}: used more than {BUSY_SHARE:.0%} of a core in {len(busy)} {of}, "
            f"at {rate:,.0f} deliveries/s: it was the bottleneck."
        )
    starved = [each for each in worker.loaded if _is_starved(each)]
    if is_bad(len(starved), worker):
        waited = sum(each.wait or 0 for each in starved) / len(starved)
        yield (
            f"{worker.name}: had to wait for a core in {len(starved)} {of}, for {waited:.0%} of the time: others "
            "ran on its core, or a quota held it back."
        )
    yield from _late_reasons(worker, main, of)


def _late_reasons(worker: WorkerHealth, main: Main, of: str) -> Iterator[str]:
    lag_us, p99_us = worker.loop_lag.percentile(99) or 0, main.latency.percentile(99) or 0
    lagging = sum(each.lag_max_us > LAG_CEILING_US for each in worker.loaded)
    if lag_us > LAG_FLOOR_US and lag_us >= LAG_SHARE * p99_us:
        yield (
            f"{worker.name}: its loop came {lag_us / 1000:.0f} ms too late (p99), where {main.what} took "
            f"{p99_us / 1000:.0f} ms (p99): that is its own latency."
        )
    elif lag_us > LAG_CEILING_US and is_bad(lagging, worker):
        yield (
            f"{worker.name}: its loop came {lag_us / 1000:.0f} ms too late (p99; at most "
            f"{LAG_CEILING_US / 1000:.0f} ms), in {lagging} {of}: latencies are in part its own."
        )
    late_us = worker.send_lateness.percentile(99) or 0
    late = sum(each.lateness_max_us > LATENESS_US for each in worker.loaded)
    if late_us > LATENESS_US and is_bad(late, worker):
        yield (
            f"{worker.name}: sent {late_us / 1000:.0f} ms later than intended (p99; at most "
            f"{LATENESS_US / 1000:.0f} ms), in {late} {of}: the load was not the one asked for."
        )


def _load_reasons(counters: Mapping[str, int]) -> Iterator[str]:
    """Whether the load was the one asked for."""
    users, joined = counters.get("users", 0), counters.get("joined", 0)
    if joined < users:
        yield f"{users - joined:,} of {users:,} users never joined their room: the load was not the one asked for."
    due = counters.get("sent", 0) + counters.get("not_sent", 0)
    if due and not counters.get("acknowledged"):
        yield f"Not one of {due:,} messages was acknowledged: nothing was expected, so that nothing could be lost."
    else:
        yield from _unsent(counters, NOT_SENT_MAX)


def _unsent(counters: Mapping[str, int], above: float) -> Iterator[str]:
    unsent = counters.get("not_sent", 0)
    due = counters.get("sent", 0) + unsent
    if unsent > above * due:
        yield (
            f"{unsent:,} of {due:,} messages were not sent, since their senders had no connection: the load was "
            "not the one asked for."
        )


def _is_starved(each: HealthSecond) -> bool:
    wait = each.wait or 0
    return wait > STARVED_WAIT_SHARE and (each.cpu or 0) + wait > STARVED_SHARE


def _clock_reasons(fanout: Histogram) -> Iterator[str]:
    count = fanout.count
    if count and fanout.below_zero > BELOW_ZERO_SHARE * count:
        yield (
            f"{fanout.below_zero / count:.0%} of the deliveries came before they were sent, by the clocks of the "
            "generators: their clocks differ by more than the latencies."
        )


def _hiccups(worker: WorkerHealth) -> Iterator[str]:
    worst = max(worker.loaded, key=lambda each: each.lag_max_us, default=None)
    if worst and worst.lag_max_us > LAG_CEILING_US:
        yield (
            f"{worker.name}: its loop stood still for {worst.lag_max_us / 1000:.0f} ms in second "
            f"{worst.second}: the highest latencies of that second are its own."
        )


def _closeness(workers: Sequence[WorkerHealth], main: Main) -> Iterator[str]:
    lag_us = max((worker.loop_lag.percentile(99) or 0 for worker in workers), default=0)
    main_us = main.latency.percentile(99) or 0
    if lag_us > 1000 and lag_us > LAG_SHARE_TOLD * main_us > 0:
        yield (
            f"The loop lag of the generators ({lag_us / 1000:.1f} ms, p99) is more than a third of what "
            f"{main.what} took ({main_us / 1000:.1f} ms, p99): the server is faster than it looks."
        )


def _advice(workers: Sequence[WorkerHealth], reasons: Sequence[str]) -> Iterator[str]:
    wanted_each = (((each.cpu or 0) + (each.wait or 0) for each in worker.loaded) for worker in workers)
    demand = sum(max(shares, default=0) for shares in wanted_each)
    wanted = max(len(workers) + 1, math.ceil(demand / COMFORTABLE_SHARE))
    yield (
        f"Take more generator processes: {wanted} instead of {len(workers)} (--processes {wanted}, or further "
        "machines and --expect-workers), each with a core that nothing else uses; or fewer users."
    )
    if any("wait for a core" in reason for reason in reasons):
        yield "Look for what else runs on these cores, and for a CPU quota of the container (cpu.max)."
    if any("its own latency" in reason for reason in reasons):
        yield "The plot of its lag shows when it stood still; a single time weighs less in a longer run."
    if any("clocks" in reason for reason in reasons):
        yield "Let the generators' machines keep the same time (chrony), or run all generators on one machine."
    if any("had begun" in reason for reason in reasons):
        yield "Begin when all workers are there: --expect-workers; in the web UI, look at their number first."
    if any("missing" in reason for reason in reasons):
        yield "Look at the log of the worker whose report is missing: was it killed, or out of memory?"
