"""Command lines that do the same as the dashboard."""

import shlex
from collections.abc import Iterable


def command(*words: str, **options: object) -> str:
    """Write a command line for a shell; options that are None or False are left out.

    >>> command("retry", all=True, error="no such order")
    "afterword retry --all --error 'no such order'"
    """
    return shlex.join(["afterword", *words, *_options(options)])


def _options(options: dict[str, object]) -> Iterable[str]:
    for name, value in options.items():
        if value is None or value is False or value == "":
            continue
        yield f"--{name.replace('_', '-')}"
        if value is not True:
            yield str(value)
