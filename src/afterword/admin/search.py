r"""The language of searches: words with qualifiers, as in `task:app.mail:send state:failed`.

A word is `name:value`; a value with spaces is written in double quotes. In quotes, `\"` means a
quote, `\\` a backslash, and `\u00e9` the character with this number; other backslashes are ordinary
characters. A word without a qualifier is the id of a job if it looks like one, the name
of a task if it has a colon, and otherwise text that the error contains.

    task: queue: worker: tag: request:    an exact match
    state:failed                          one of the states
    error:"no such order"                 text that the error contains
    group:"KeyError: <text>"              the name of a group of failures, or its `digest_of`
    since:1h                              added since: a span, or an ISO time
    id:456789ab                           the first or last 8 or more characters of an id
    arg.user_id:7                         the value of an argument, by its path
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from afterword.admin.document import readable
from afterword.admin.duration import parse_since
from afterword.errors import ConfigurationError
from afterword.model.failures import common_text, digest_of, name_of
from afterword.model.job import JobRecord, JobState
from afterword.model.records import Filter
from afterword.telemetry import printable

LONGEST = 4_000  # characters of a search: twice as many as a form takes, for what links add
_INSIDE = r'(?:[^"\\]|\\.)*'  # of quotes
_WORD = re.compile(rf'(?:[^\s"]|"{_INSIDE}"?)+', re.DOTALL)
_WHOLE = re.compile(rf'"{_INSIDE}"', re.DOTALL)
_PART = re.compile(rf'"({_INSIDE})"?', re.DOTALL)
_ESCAPE = re.compile(r'\\(?:(["\\])|u([0-9a-fA-F]{4}))')
_ID = re.compile(r"[0-9a-f][0-9a-f-]{6,34}[0-9a-f]", re.IGNORECASE)
_EXACT = {"task": "task", "queue": "queue", "worker": "worker", "tag": "tag", "error": "error"}
_FIELDS = {**_EXACT, "request": "request_id"}
QUALIFIERS = (*_FIELDS, "group", "state", "since", "id", "arg.NAME")


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """A search, as it was understood.

    Args:
        text: as it was typed.
        filter: the part that the store decides.
        ids: beginnings or ends of ids.
        arguments: paths of arguments, and the text of their values.
        group: the name of a kind of error, or its digest; see `model.failures`.
    """

    text: str = ""
    filter: Filter = field(default_factory=Filter)
    ids: tuple[str, ...] = ()
    arguments: tuple[tuple[str, str], ...] = ()
    group: str | None = None

    @property
    def reads_jobs(self) -> bool:
        """True if jobs must be read to know which of them match."""
        return bool(self.arguments) or self.group is not None

    @property
    def error(self) -> str | None:
        """The text that was asked for in errors."""
        given = self.filter.error
        return None if self.group and given == common_text(self.group) else given

    def matches(self, job: JobRecord) -> bool:
        """Return True if a job that passes the filter is in the group, and has the arguments."""
        if self.group is not None and not is_named(name_of(job.error), self.group):
            return False
        if not self.arguments:
            return True
        if any(_is_plain(text) and text not in job.arguments for _, text in self.arguments):
            return False  # decoding takes longer
        given = readable(job.arguments)
        return all(_has(given, path.split("."), text) for path, text in self.arguments)

    def in_state(self, state: JobState | None) -> "Search":
        """Return the same search for another state; None: for all states."""
        words = [word for word in words_of(self.text) if not word.lower().startswith("state:")]
        if state is not None:
            words.append(f"state:{state}")
        return replace(self, text=" ".join(words), filter=replace(self.filter, state=state))


def parse(text: str, now: float) -> Search:
    """Parse a search.

    >>> parse('task:app:send state:failed error:"no order"', now=0.0).filter.error
    'no order'

    Raises:
        ConfigurationError: a qualifier or a value is unknown.
    """
    if len(text) > LONGEST:
        raise ConfigurationError(
            f"A search must have at most {LONGEST:,} characters, but it has {len(text):,}."
        )
    fields: dict[str, Any] = {}
    ids: list[str] = []
    arguments: list[tuple[str, str]] = []
    group = None
    text = _closed(text.strip())
    words = [_split(each) for each in words_of(text)]
    for name, value in words:
        if name == "id":
            ids.append(value)
        elif name == "group":
            group = value
        elif name.startswith("arg."):
            arguments.append((name.removeprefix("arg."), value))
        else:
            fields[_FIELDS.get(name, name)] = _PARSED[name](value, now)
    if group is not None:  # the store finds the jobs that may be in it
        fields.setdefault("error", common_text(group))
    return Search(
        text=text if text.isprintable() else " ".join(word(*each) for each in words),
        filter=Filter(**fields),
        ids=tuple(ids),
        arguments=tuple(arguments),
        group=group,
    )


def words_of(text: str) -> list[str]:
    """Split a search into its words; quoted values stay whole.

    >>> words_of('task:a error:"no order')
    ['task:a', 'error:"no order"']
    """
    return _WORD.findall(_closed(text))


def _closed(text: str) -> str:
    """Write the quote at the end of a search in which it is missing: words may follow."""
    if '"' not in _WHOLE.sub("", text):
        return text
    backslashes = len(text) - len(text.rstrip("\\"))
    return text + ('\\"' if backslashes % 2 else '"')


def word(name: str, value: str) -> str:
    r"""Write one word of a search, in characters that a page and a terminal show as they are.

    >>> word("task", "app:send"), word("error", "no order"), word("tag", 'a"\n')
    ('task:app:send', 'error:"no order"', 'tag:"a\\"\\u000a"')
    """
    if value and value.isprintable() and " " not in value and '"' not in value:
        return f"{name}:{value}"
    plain = value.replace("\\", r"\\").replace('"', r"\"")
    return f'{name}:"{"".join(map(_shown, plain))}"'


def _shown(character: str) -> str:
    number = ord(character)
    return character if character.isprintable() or number > 0xFFFF else f"\\u{number:04x}"


def _meant(escape: "re.Match[str]") -> str:
    return escape[1] or chr(int(escape[2], 16))


def _split(word: str) -> tuple[str, str]:
    """Return the qualifier of a word, and its value."""
    name, colon, value = word.partition(":")
    name = name.lower() if not name.lower().startswith("arg.") else f"arg.{name[4:]}"
    if colon and (name in _PARSED or name in ("id", "group") or name.startswith("arg.")):
        return name, _unquoted(value, name)
    if colon and '"' not in word and "." not in name and not value.isidentifier():
        raise ConfigurationError(
            f"A search must use the qualifiers {', '.join(QUALIFIERS)}, but it has"
            f' {printable(name)!r}. Put text with a colon in quotes: error:"{printable(word)}"'
        )
    text = _unquoted(word, "error")
    if _ID.fullmatch(text):
        return "id", text
    return ("task" if colon and '"' not in word else "error"), text


def _unquoted(value: str, name: str) -> str:
    text = _PART.sub(lambda part: _ESCAPE.sub(_meant, part[1]), value)
    if not text and not (value and name.startswith("arg.")):
        raise ConfigurationError(
            f"A qualifier needs a value, as in {name}:VALUE, but {name}: has none."
        )
    if "\0" in text or any("\ud800" <= each <= "\udfff" for each in text):
        raise ConfigurationError(
            f"{name}: must be text, but it contains the character NUL, or half a surrogate pair."
        )
    return text


def is_named(name: str, group: str) -> bool:
    """Return True if a word `group:` means the group with this name."""
    return group in (name, digest_of(name))


def _state(value: str, _now: float) -> JobState:
    if value.lower() not in list(JobState):
        raise ConfigurationError(
            f"state: must be one of {', '.join(JobState)}, but it is {printable(value)!r}."
        )
    return JobState(value.lower())


def _since(value: str, now: float) -> float:
    try:
        return parse_since(value, now)
    except ValueError as error:
        raise ConfigurationError(f"since: is not understood. {error}") from None


def _text(value: str, _now: float) -> str:
    return value


_PARSED: dict[str, Callable[[str, float], Any]] = {
    **dict.fromkeys(_FIELDS, _text),
    "state": _state,
    "since": _since,
}


# ---------------------------------------------------------------------- arguments


def _is_plain(text: str) -> bool:
    """Return True if JSON writes a text as it is."""
    return text.isascii() and text.isalnum()


def _has(given: Any, path: Sequence[str], text: str) -> bool:
    return any(_reads(value, text) for value in _values_at(given, path))


def _values_at(given: Any, path: Sequence[str]) -> Iterator[Any]:
    """Yield the values at a path; a name may contain dots."""
    if not path:
        yield given
        return
    for end in range(1, len(path) + 1):
        name, rest = ".".join(path[:end]), path[end:]
        if isinstance(given, dict) and name in given:
            yield from _values_at(given[name], rest)
        elif isinstance(given, list) and name.isdecimal() and int(name) < len(given):
            yield from _values_at(given[int(name)], rest)


def _reads(value: Any, text: str) -> bool:
    """Return True if a value is written as this text."""
    return text in (value, json.dumps(value, ensure_ascii=False, separators=(",", ":")))
