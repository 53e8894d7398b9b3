"""Search for the application: by options and settings, then by files."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from afterword import Afterword
from afterword.cli.discovery import find_application, locate
from afterword.errors import ConfigurationError

APPLICATION = """
from starlette.applications import Starlette
from afterword import Afterword
{name} = Starlette()
afterword = Afterword({name}, "sqlite:///jobs.db")
"""


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty project as the current directory, whose modules do not stay imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AFTERWORD_APP", raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def write(path: str, text: str = APPLICATION, *, name: str = "app") -> None:
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text.replace("{name}", name))


def refusal(argument: str | None = None) -> str:
    with pytest.raises(ConfigurationError) as caught:
        find_application(argument)
    return str(caught.value)


@pytest.mark.parametrize(
    ("file", "argument", "found"),
    [
        ("site_a.py", "site_a:app", "site_a:app"),
        ("site_b.py", "site_b", "site_b:app"),
        ("site_c.py", "site_c.py", "site_c:app"),
        ("site_d.py", "./site_d.py:app", "site_d:app"),
        ("folder/site_e.py", "folder/site_e.py", "site_e:app"),
        ("folder/site_f.py", "folder.site_f:app", "folder.site_f:app"),
    ],
)
def test_the_command_line_names_it(file: str, argument: str, found: str) -> None:
    write(file)

    assert found == find_application(argument).name


def test_a_factory_is_called() -> None:
    write("shop.py", f"{APPLICATION}\ndef create():\n    return app\n")

    assert "shop:create()" == find_application("shop:create()").name


def test_a_file_in_a_package_is_imported_as_part_of_it() -> None:
    write("src/shop/__init__.py", "")
    write("src/shop/web/__init__.py", "")
    write("src/shop/web/main.py")

    assert "shop.web.main:app" == find_application("src/shop/web/main.py").name


def test_a_package_can_be_named_by_its_folder() -> None:
    write("store_front/__init__.py")

    assert "store_front:app" == find_application("store_front").name


@pytest.mark.parametrize(
    ("tables", "expected"),
    [
        ('[tool.afterword]\napp = "one:app"\n[tool.fastapi]\nentrypoint = "two:app"', "one"),
        ('[tool.fastapi]\nentrypoint = "two:app"', "two"),
        ("[tool.other]", "main"),
    ],
)
def test_pyproject_names_it(tables: str, expected: str) -> None:
    write("main.py")
    write("pyproject.toml", tables)

    assert expected == locate().module


def test_the_environment_goes_before_pyproject(monkeypatch: pytest.MonkeyPatch) -> None:
    write("pyproject.toml", '[tool.afterword]\napp = "one:app"')
    monkeypatch.setenv("AFTERWORD_APP", "three:app")

    assert "three" == locate().module
    assert "four" == locate("four:app").module


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["api.py", "app.py", "main.py"], "main"),
        (["api.py", "app.py"], "app"),
        (["app/api.py", "app/main.py"], "main"),
        (["app/__init__.py", "app/main.py"], "app.main"),
    ],
)
def test_nothing_named_means_the_usual_files(files: list[str], expected: str) -> None:
    for file in files:
        write(file)

    assert expected == locate().module


def test_nothing_found_says_what_was_tried() -> None:
    said = refusal()

    assert str(Path.cwd()) in said
    assert "AFTERWORD_APP, pyproject.toml ([tool.afterword], [tool.fastapi]), main.py" in said
    assert "such as main:app" in said


@pytest.mark.parametrize("name", ["api", "application"])
def test_the_only_application_is_found_whatever_its_name(name: str) -> None:
    write("named.py", name=name)

    assert f"named:{name}" == find_application("named").name


def test_app_goes_before_others() -> None:
    write("both.py", f"{APPLICATION}\nother = Starlette()")

    assert "both:app" == find_application("both").name


def test_a_test_client_is_no_application() -> None:
    client = "from starlette.testclient import TestClient\nclient = TestClient(server)"
    write("tested.py", APPLICATION + client, name="server")

    assert "tested:server" == find_application("tested").name


def test_it_may_be_wrapped() -> None:
    wrapper = """
class Wrapper:
    def __init__(self, app): self.app = app
    async def __call__(self, scope, receive, send): await self.app(scope, receive, send)
inner = app
app = Wrapper(Wrapper(app))
"""
    write("wrapped.py", APPLICATION + wrapper)

    found = find_application("wrapped:app")

    assert "Wrapper" == type(found.asgi).__name__
    assert isinstance(found.afterword, Afterword)


@pytest.mark.parametrize(
    ("source", "argument", "said"),
    [
        (None, "nowhere:app", "no module 'nowhere'"),
        (None, "nowhere.py", "There is no file"),
        (None, "not a module!", "module:app or by the path"),
        (None, "sub.:app", "module:app or by the path"),
        ("", "empty", "it has none"),
        ("app = 5", "number:app", "but it is of type int"),
        ("def app(): ...", "factory:app", "write factory:app()"),
        ("def make(): return 5", "five:make()", "but it is of type int"),
        (APPLICATION, "called:app()", "Leave out the ()"),
        (APPLICATION, "twice:app()()", "module:app or by the path"),
        (APPLICATION, "missing:server", "has no 'server'"),
        (
            "from starlette.applications import Starlette\nx, y = Starlette(), Starlette()",
            "several",
            "several: x, y",
        ),
        (
            "from starlette.applications import Starlette\napp = Starlette()",
            "without",
            "must have an Afterword",
        ),
        (
            "class Circle:\n    def __call__(self): ...\napp = Circle()\napp.app = app",
            "circle:app",
            "but it is of type Circle",
        ),
    ],
)
def test_what_cannot_be_is_refused(source: str | None, argument: str, said: str) -> None:
    if source is not None:
        write(f"{argument.partition(':')[0]}.py", source)

    assert said in refusal(argument)


def test_a_broken_pyproject_is_refused() -> None:
    write("pyproject.toml", "tool = [")

    assert "pyproject.toml cannot be read" in refusal()


def test_an_import_that_fails_inside_the_application_is_its_own_error() -> None:
    write("needy.py", "import a_package_that_nobody_has")

    with pytest.raises(ModuleNotFoundError, match="a_package_that_nobody_has"):
        find_application("needy:app")
