"""What an experiment has found, as it is printed and published."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One row of the table in docs/reliability.md.

    Args:
        name: "A" to "D", "F1" to "F4".
        question: what was done to real processes.
        required: what must come of it.
        measured: what came of it.
        passed: whether that is enough.
    """

    name: str
    question: str
    required: str
    measured: str
    passed: bool
