"""Groups of failures: of one task, with the same exception except for numbers, ids and texts."""

import functools
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from afterword.model.clock import as_datetime

HOURS = 24  # of which the failures are counted one by one
TAIL = 4_000  # characters at the end of an error that are looked at
NO_TEXT = "no error text"
_LINE = 300  # characters of a message: more would only separate similar ones
_FRAME = re.compile(r'([ |]*)  File "')
_EXCEPTION = re.compile(r"[ |]*((?:\w+\.)*[A-Z]\w*)(?:: ?(.*))?")
_HEADER = re.compile(r"[ |+]*(?:Exception Group )?Traceback \(most recent call last\):")
_QUOTED = re.compile(r"""(?<!\w)("[^"]*"|'[^']*')(?!\w)""")
_VARYING = (
    (re.compile(r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b", re.IGNORECASE), "<uuid>"),
    (re.compile(r"\b0x[0-9a-f]+\b", re.IGNORECASE), "<hex>"),
    (re.compile(r"\b(?=[a-f]*[0-9])(?=[0-9]*[a-f])[0-9a-f]{8,}\b", re.IGNORECASE), "<hex>"),
    (re.compile(r"\d+(?:[.,:]\d+)*", re.ASCII), "#"),
)
# Where the text of an error and the name of its kind may differ.
_APART = re.compile(r"<(?:uuid|hex|text)>|[#:']")
_SPOKEN = str.maketrans({"\0": "'"})  # a search cannot hold it
_DIGEST = re.compile("~[0-9a-f]{16}")


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureGroup:
    """Failed jobs of one task with the same exception.

    Args:
        exception: its type, as the traceback has it; "" if the error is another text.
        message: the first line of its message, with placeholders for what varies.
        ids: all jobs of the group that were looked at, the newest first.
        hours: how many failed in each of the last 24 hours, the present one last.
    """

    task: str
    exception: str
    message: str
    ids: tuple[str, ...]
    first_at: datetime
    last_at: datetime
    hours: tuple[int, ...]

    @property
    def count(self) -> int:
        """The number of its jobs that were looked at."""
        return len(self.ids)

    @property
    def error(self) -> str:
        """The name of its kind of error: one line; see `name_of`."""
        return _name(self.exception, self.message)

    @property
    def example(self) -> str:
        """The id of its newest job."""
        return self.ids[0]


@dataclass(frozen=True, slots=True)
class Failures:
    """Groups of failures, the largest first.

    Args:
        looked_at: how many failed jobs were looked at.
        all: False if there may be older ones.
    """

    groups: tuple[FailureGroup, ...]
    looked_at: int
    all: bool


def grouped(jobs: Iterable[tuple[str, str, float, str]], limit: int, now: float) -> Failures:
    """Group failed jobs.

    Args:
        jobs: (id, task, finished_at, the end of the error), the newest first.
        limit: how many were asked for.
    """
    found: dict[tuple[str, str, str], list[tuple[str, float]]] = {}
    for job_id, task, finished_at, error in jobs:
        found.setdefault((task, *kind_of(error)), []).append((job_id, finished_at))
    groups = [_group(*kind, members, now) for kind, members in found.items()]
    groups.sort(key=lambda group: (-group.count, -group.last_at.timestamp()))
    looked_at = sum(group.count for group in groups)
    return Failures(tuple(groups), looked_at, looked_at < limit)


def _group(
    task: str, exception: str, message: str, members: list[tuple[str, float]], now: float
) -> FailureGroup:
    times = [at for _, at in members]
    hours = [0] * HOURS
    for at in times:
        ago = max(0, int(now // 3600) - int(at // 3600))
        if ago < HOURS:
            hours[HOURS - 1 - ago] += 1
    return FailureGroup(
        task=task,
        exception=exception,
        message=message,
        ids=tuple(job_id for job_id, _ in members),
        first_at=as_datetime(min(times)),
        last_at=as_datetime(max(times)),
        hours=tuple(hours),
    )


@functools.lru_cache(maxsize=2500)  # more than are looked at for groups at a time
def kind_of(error: str) -> tuple[str, str]:
    """Return the type of an error's exception, and its message without numbers, ids and texts.

    >>> kind_of('Traceback ...\\n  File "a.py", line 1, in f\\n    g()\\nKeyError: \\'order 7\\'')
    ('KeyError', '<text>')
    >>> kind_of("smtplib.SMTPException: 3 of 10 left, at 0x7f3a")
    ('smtplib.SMTPException', '# of # left, at <hex>')
    >>> kind_of("interrupted by 100 shutdowns")
    ('', 'interrupted by # shutdowns')
    """
    exception, message = exception_of(error)
    return exception, without_ids(_QUOTED.sub("<text>", message))[:_LINE].strip()


def name_of(error: str | None) -> str:
    """Return the name of an error's kind, which is the same for all failures of a group.

    >>> name_of("KeyError: 'order 7'"), name_of("TimeoutError"), name_of(None)
    ('KeyError: <text>', 'TimeoutError', 'no error text')
    """
    return _name(*kind_of((error or "")[-TAIL:]))


def _name(exception: str, message: str) -> str:
    return ": ".join(filter(None, (exception, message))).translate(_SPOKEN) or NO_TEXT


def digest_of(name: str) -> str:
    """Return a short form of the name of a kind of error, for searches.

    >>> digest_of("KeyError: <text>")
    '~ee26a3ac3a35704d'
    """
    return f"~{hashlib.blake2b(name.encode('utf-8', 'replace'), digest_size=8).hexdigest()}"


def common_text(name: str) -> str | None:
    """Return the longest text that is certain to be in each error of a kind; None: there is none.

    >>> common_text("OSError: [Errno #] no route to <text>"), common_text("#")
    ('] no route to', None)
    """
    if name == NO_TEXT or _DIGEST.fullmatch(name):
        return None
    return max(_APART.split(name), key=len).strip() or None


def exception_of(error: str) -> tuple[str, str]:
    """Return the type of an error's exception, and the first line of its message.

    >>> exception_of('Traceback ...\\n  File "a.py", line 1, in f\\n    g()\\nKeyError: 7')
    ('KeyError', '7')
    >>> exception_of("interrupted by 100 shutdowns")
    ('', 'interrupted by 100 shutdowns')
    """
    line = _exception_line(error.splitlines())[:_LINE]
    match = _EXCEPTION.fullmatch(line)
    return (match[1], match[2] or "") if match else ("", line)


def remote_exception(error: str) -> Exception | None:
    """Return a replacement for an exception of which only the text is known; None: no type.

    It has the name of its type and its message, by which errors are grouped, and the text as a
    note.

    >>> remote_exception("billing.Declined: no money")
    Declined('no money')
    """
    kind, message = exception_of(error)
    if not kind:
        return None
    module, _, name = kind.rpartition(".")
    names = {"__module__": module or "builtins", "__qualname__": name}
    stand_in: type[Exception] = type(name, (Exception,), names)
    found = stand_in(message)
    found.add_note(error)
    return found


def without_ids(text: str) -> str:
    """Replace numbers, addresses and ids, which differ from job to job.

    >>> without_ids("order 4711 of 0193e5f0-7c1a-7b2e-8d3f-0123456789ab at 0x7f3a")
    'order # of <uuid> at <hex>'
    """
    for pattern, instead in _VARYING:
        text = pattern.sub(instead, text)
    return text


def _exception_line(lines: list[str]) -> str:
    """Return the line behind the last frame of a traceback, or the first one that has text.

    A traceback without frames has a header, too.
    """
    frames = [(at, match[1]) for at, line in enumerate(lines) if (match := _FRAME.match(line))]
    last, margin = frames[-1] if frames else (-1, "\0")
    code = margin + "    "  # the lines of code are indented, as are the marks below them
    behind = lines[last + 1 :]
    wanted = (each for each in behind if each.strip() and not each.startswith(code))
    return next((each for each in wanted if not _HEADER.fullmatch(each)), "")
