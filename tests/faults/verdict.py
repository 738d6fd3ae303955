"""The outcome of a run: the one line, and for a run that failed, what there is to know about it."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from .findings import KINDS, Finding
from .record import Connected, History, Received, messages_of

SHOWN_PER_KIND = 10


@dataclass(frozen=True, slots=True)
class Verdict:
    """`faults`: kind -> how many there were; `messages`: how many were sent, `unknown`: of these never settled;
    `receipts`: of messages, by all clients; `recovered`: reconnects that were told so.

    `started_s`: the run's beginning on the clock of the record.
    """

    seed: int
    faults: Mapping[str, int]
    messages: int
    receipts: int
    recovered: int
    unknown: int
    findings: Sequence[Finding]
    histories: Sequence[History] = field(repr=False)
    started_s: float = 0.0

    @classmethod
    def of(
        cls,
        seed: int,
        faults: Mapping[str, int],
        histories: Sequence[History],
        findings: Sequence[Finding],
        started_s: float = 0.0,
    ) -> Self:
        """Made of what clients saw, and what is wrong with it."""
        messages = messages_of(histories)
        return cls(
            seed,
            faults,
            messages=len(messages),
            receipts=sum(1 for history in histories for _ in history.of(Received)),
            recovered=sum(event.recovered for history in histories for event in history.of(Connected)),
            unknown=sum(message.acked_s is None for message in messages.values()),
            findings=findings,
            histories=histories,
            started_s=started_s,
        )

    @property
    def counts(self) -> dict[str, int]:
        """Kind of finding -> how many, each kind there is."""
        found = Counter(finding.kind for finding in self.findings)
        return {kind: found[kind] for kind in KINDS}

    @property
    def ok(self) -> bool:
        """Whether nothing at all is wrong."""
        return not self.findings

    @property
    def line(self) -> str:
        """`key=value`, in an order that stays."""
        fields = {"seed": self.seed, "faults": sum(self.faults.values())} | self._figures()
        return " ".join(f"{key}={value}" for key, value in fields.items())

    def details(self) -> Iterator[str]:
        """What is wrong, a few of each kind, each with what its client was told of its connection around it."""
        for kind, count in self.counts.items():
            shown = [finding for finding in self.findings if finding.kind == kind][:SHOWN_PER_KIND]
            if shown:
                yield f"{kind}: {count}"
            told: list[str] = []
            for finding in shown:
                at = f" at {finding.at_s - self.started_s:.3f} s" if finding.at_s else ""
                yield f"  {finding.client} {finding.message}{at}: {finding.what}"
                before, told = told, list(self._told(finding))
                yield from told if told != before else ()
            if count > len(shown):
                yield f"  and {count - len(shown)} more"

    def as_json(self) -> dict[str, Any]:
        """All of it, for machines."""
        findings = [asdict(finding) for finding in self.findings]
        return {"seed": self.seed, "faults": dict(self.faults)} | self._figures() | {"findings": findings}

    def _figures(self) -> dict[str, int]:
        figures = {name: getattr(self, name) for name in ("messages", "receipts", "recovered", "unknown")}
        return figures | self.counts

    def _told(self, finding: Finding) -> Iterator[str]:
        history = next((each for each in self.histories if each.name == finding.client), None)
        if history is None or not finding.at_s:
            return
        for event in history.around(finding.at_s):
            values = {name: value for name, value in asdict(event).items() if name != "at_s"}
            shown = " ".join(f"{name}={value!r}" for name, value in values.items())
            yield f"    {event.at_s - self.started_s:8.3f} s {type(event).__name__} {shown}"
