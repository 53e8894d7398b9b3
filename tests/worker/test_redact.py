"""`Afterword(redact=...)`: the part of an error's text that may be kept."""

import asyncio
import logging
from pathlib import Path

import pytest

from afterword import Afterword
from afterword.errors import ConfigurationError
from tests.at_work import at_work, ended


def leak() -> None:
    raise ValueError("cannot log in with password s3cret")


async def leak_async() -> None:
    leak()


def without_secret(text: str) -> str:
    return text.replace("s3cret", "***")


def broken(text: str) -> str:
    raise KeyError(text)


@pytest.mark.parametrize("task", [leak, leak_async])
def test_a_secret_in_an_error_is_neither_stored_nor_logged(
    task: object, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> str | None:
        async with at_work(tmp_path, redact=without_secret) as afterword:
            job = await afterword.add_task(task)  # type: ignore[call-overload]
            return (await ended(afterword, job)).error

    with caplog.at_level(logging.DEBUG, "afterword"):
        error = asyncio.run(scenario())

    assert error is not None
    assert error.endswith("ValueError: cannot log in with password ***")
    assert "s3cret" not in caplog.text


def test_when_the_hook_fails_nothing_is_kept(tmp_path: Path) -> None:
    async def scenario() -> str | None:
        async with at_work(tmp_path, redact=broken) as afterword:
            job = await afterword.add_task(leak)
            return (await ended(afterword, job)).error

    assert "<not kept: redact raised KeyError>" == asyncio.run(scenario())


def test_the_hook_must_be_a_function(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="redact must be a function of one text"):
        Afterword(url=f"sqlite:///{tmp_path / 'jobs.db'}", redact="s3cret")  # type: ignore[arg-type]
