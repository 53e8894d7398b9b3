"""Injectors of an application: those of the frameworks it uses, and those it gives."""

import subprocess
import sys
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI

from afterword.injection.injectors import injection_of
from afterword.injection.needs import Injection
from tests.helpers import ROOT
from tests.injection.attempts import attempt
from tests.injection.hand_made import HandMade, Marker


def get() -> str:
    return "got"


def task(given: Annotated[str, Marker()], got: Annotated[str, Depends(get)]) -> str:
    return f"{given}, {got}"


def test_an_injector_that_is_given_comes_beside_those_that_are_found() -> None:
    assert "given, got" == attempt(injection_of(FastAPI(), [HandMade()]), task)


def test_an_injector_that_is_given_takes_the_place_of_the_one_of_its_name() -> None:
    injection = injection_of(FastAPI(), [HandMade(name="fastapi")])

    assert {"given"} == injection.of(task).names


def _python(source: str, without: list[str]) -> Any:
    """Run a program without these packages; returns its output."""
    blocked = f"import sys\nfor name in {without}: sys.modules[name] = None\n"
    result = subprocess.run(
        [sys.executable, "-c", blocked + source],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert 0 == result.returncode, result.stderr
    return result.stdout.strip()


def test_without_any_framework() -> None:
    source = """
from afterword import Afterword
from afterword.injection.needs import NOTHING
from afterword.injection.injectors import injection_of
from starlette.applications import Starlette

def plain(x: int): ...
def native(x: int, context: set): ...

app = Starlette()
injection = injection_of(app, builtin_types=[set])
assert injection.of(plain) is NOTHING
with injection.of(native).sync_scope({set: "context"}) as values:
    print(values)
"""

    assert "{'context': 'context'}" == _python(source, ["fastapi", "wireup", "dishka"])


def test_nothing_is_imported_that_the_application_does_not_use() -> None:
    source = """
import afterword
from afterword.injection.injectors import injection_of

def task(x: int): ...

injection_of(None).of(task)
import sys
print([name for name in ("fastapi", "wireup", "dishka") if name in sys.modules])
"""

    assert "[]" == _python(source, [])


def test_wireup_without_fastapi() -> None:
    """Then `Injected[T]` is not a `Depends`, and its marker raises for every attribute."""
    pytest.importorskip("wireup")
    source = """
import wireup
from afterword.injection.injectors import injection_of
from afterword.injection.lifecycle import run_sync
from starlette.applications import Starlette
from wireup import Injected
from wireup.integration.starlette import setup

@wireup.injectable
class Greeter: ...

def task(x: int, greeter: Injected[Greeter]): ...

app = Starlette()
setup(wireup.create_async_container(injectables=[Greeter]), app)
needs = injection_of(app).of(task)
run_sync(needs, {}, lambda values: print(list(values)))
"""

    assert "['greeter']" == _python(source, ["fastapi"])


def test_the_injection_of_nothing() -> None:
    assert not Injection().of(task)
