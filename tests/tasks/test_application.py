"""The application's own modules, in all ways to install it and its packages."""

import importlib
import os
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from fastapi import FastAPI

from afterword import Afterword, NotStorable, task
from afterword.errors import ConfigurationError, DuplicateTask, UnknownTask
from afterword.tasks import application
from afterword.tasks.registry import resolve, storable
from tests.command_line import Shell
from tests.helpers import ROOT

names = sys.modules["afterword.tasks.registry"]
CODE = "def work() -> None: ...\n"
MAIN = (
    "from fastapi import FastAPI\nfrom afterword import Afterword\n"
    "afterword = Afterword(FastAPI(), url='sqlite:///jobs.db')\n" + CODE
)


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder, an empty registry, and no application modules."""
    monkeypatch.chdir(tmp_path)
    for registry in ("_registered", "_duplicates", "_added"):
        monkeypatch.setattr(names, registry, {})
    for registry in ("_packages", "_folders", "_scripts"):
        monkeypatch.setattr(application, registry, set())
    application._look_again()
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for each in set(sys.modules) - before:
        del sys.modules[each]
    application._look_again()


def tree(folder: Path, files: dict[str, str]) -> Path:
    """Make files, by their paths."""
    for name, code in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(code)
    return folder


def load(*modules: str, folders: tuple[Path, ...]) -> None:
    """Import modules with these entries of `sys.path`; the first module makes an Afterword."""
    sys.path[:0] = [str(each) for each in folders]
    importlib.invalidate_caches()
    for each in modules:
        importlib.import_module(each)


def may_call(module: str) -> bool:
    """Return True if stored text may call `work` of a module; otherwise adding it must fail."""
    func = sys.modules[module].__dict__["work"]
    try:
        assert resolve(f"{module}:work") is func
    except UnknownTask:
        with pytest.raises(NotStorable, match="only functions of the application's own modules"):
            storable(func)
        return False
    assert f"{module}:work" == storable(func)
    return True


WAYS = {
    # the application's files, where its path begins, its modules
    "a-package": (
        {
            "app/__init__.py": "",
            "app/main.py": MAIN,
            "app/mail/__init__.py": "",
            "app/mail/tasks.py": CODE,
        },
        ["app.main", "app.mail.tasks"],
    ),
    "modules-side-by-side": ({"main.py": MAIN, "mail.py": CODE}, ["main", "mail"]),
    "no-init-anywhere": (
        {"app/main.py": MAIN, "app/services/mail.py": CODE},
        ["app.main", "app.services.mail"],
    ),
    "packages-side-by-side": (
        {"app/__init__.py": "", "app/main.py": MAIN, "core/__init__.py": "", "core/mail.py": CODE},
        ["app.main", "core.mail"],
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_functions_of_the_application_need_not_be_registered(way: str, place: Path) -> None:
    files, modules = WAYS[way]
    load(*modules, folders=(tree(place / "site", files),))

    assert [True] * len(modules) == [may_call(each) for each in modules]


LIBRARY = {"library/__init__.py": CODE, "library/inner.py": CODE}
METADATA = {"library-1.0.dist-info/METADATA": "Name: library\nVersion: 1.0\n"}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "elsewhere",
    [
        "venv/lib/python3/site-packages",  # also the system's packages in a venv
        "usr/lib/python3/dist-packages",
        "home/.local/lib/python3/site-packages",  # pip install --user
        "target",  # pip install --target, on PYTHONPATH; without its metadata, too
        "repository/src",  # pip install --editable
        "site/vendor",  # below the application's folder, and on the path by itself
    ],
)
def test_what_is_installed_elsewhere_is_not_called(way: str, elsewhere: str, place: Path) -> None:
    files, modules = WAYS[way]
    library = tree(place / elsewhere, LIBRARY)
    load(*modules, "library.inner", folders=(tree(place / "site", files), library))

    assert [False, False] == [may_call("library"), may_call("library.inner")]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("metadata", [METADATA, {"library.egg-info/PKG-INFO": "Name: library\n"}])
def test_where_packages_are_installed_only_the_own_package_counts(
    way: str, metadata: dict[str, str], place: Path
) -> None:
    """Examples are `pip install .`, and `pip install --target .` in the application."""
    files, (main, other) = WAYS[way]
    load(main, other, "library", folders=(tree(place, {**files, **LIBRARY, **metadata}),))

    assert may_call(main)
    assert not may_call("library")
    assert (way == "a-package") == may_call(other)


@pytest.mark.parametrize("metadata", [METADATA, {}])
def test_archives(metadata: dict[str, str], place: Path) -> None:
    """They are made as zipapp does: the application alone, or with all its packages."""
    files, modules = WAYS["a-package"]
    with zipfile.ZipFile(place / "app.pyz", "w") as archive:
        for name, code in {**files, "beside.py": CODE, "library/__init__.py": CODE}.items():
            archive.writestr(name, code)
        for name, text in metadata.items():
            archive.writestr(name, text)
    load(*modules, "beside", "library", folders=(place / "app.pyz",))

    assert [True, True] == [may_call(each) for each in modules]
    assert [not metadata] * 2 == [may_call("beside"), may_call("library")]


def test_where_afterword_comes_from_everything_is_installed(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PEX, shiv and PyInstaller unpack everything into one folder, perhaps without metadata."""
    files, modules = WAYS["a-package"]
    folder = tree(place / "unpacked", {**files, **LIBRARY})
    monkeypatch.setattr(application, "_INSTALLED", ("library",))
    load("library", *modules, folders=(folder,))

    assert [True, True] == [may_call(each) for each in modules]
    assert not may_call("library")


def test_a_library_beside_the_application_in_a_namespace_is_not_called(place: Path) -> None:
    """company.shop and company.tools are two distributions that share a folder."""
    files = {
        "company/shop/__init__.py": "",
        "company/shop/main.py": MAIN,
        "company/shop/mail.py": CODE,
        "company/tools/__init__.py": CODE,
        **METADATA,
    }
    modules = ("company.shop.main", "company.shop.mail", "company.tools")
    load(*modules, folders=(tree(place, files),))

    assert [True, True, False] == [may_call(each) for each in modules]


PIP = [sys.executable, "-m", "pip", "install", "--no-index", "--no-deps", "--quiet"]


@pytest.mark.parametrize("options", [["--target", "to"], ["--prefix", "to"]], ids=str)
def test_what_pip_installs_is_not_called(options: list[str], place: Path) -> None:
    wheel = place / "library-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("library/__init__.py", CODE)
        archive.writestr("library-1.0.dist-info/METADATA", "Name: library\nVersion: 1.0\n")
        archive.writestr("library-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("library-1.0.dist-info/RECORD", "")
    subprocess.run([*PIP, *options, str(wheel)], cwd=place, check=True)
    folder = next(place.joinpath("to").rglob("library")).parent
    files, modules = WAYS["modules-side-by-side"]
    load(*modules, "library", folders=(tree(place / "site", files), folder))

    assert [True, True] == [may_call(each) for each in modules]
    assert not may_call("library")


def test_system_packages_of_a_virtual_environment(place: Path) -> None:
    """A separate process shows what the interpreter itself sees."""
    code = (
        "import library, main\n"
        "from afterword.tasks.registry import resolve\n"
        "from afterword.errors import UnknownTask\n"
        "print(resolve('main:work').__module__)\n"
        "try: resolve('library:work')\n"
        "except UnknownTask: print('refused')\n"
    )
    base = tree(place / "base", {"lib/site-packages/library.py": CODE})
    tree(place / "site", {"main.py": MAIN, "run.py": code})
    packages = base / "lib/site-packages"
    purelib = sysconfig.get_paths()["purelib"]
    # A .pth file is how a virtual environment, an editable install and a user's site add folders.
    run = (
        f"import site, runpy; site.addsitedir({str(packages)!r});"
        f"site.addsitedir({purelib!r}); runpy.run_path('run.py')"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, ''); {run}"],
        cwd=place / "site",
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=True,
    )

    assert ["main", "refused"] == done.stdout.split()


# ---------------------------------------------------------------------- what the application shows


@pytest.fixture
def library(place: Path) -> ModuleType:
    """A library in its own folder, which no application has named."""
    load("library", "library.inner", folders=(tree(place / "target", LIBRARY),))
    return sys.modules["library"]


def test_a_module_that_is_named_may_be_called_with_all_below_it(library: ModuleType) -> None:
    assert not may_call("library")

    Afterword(FastAPI(), url="sqlite:///jobs.db", tasks=[library])

    assert [True, True] == [may_call("library"), may_call("library.inner")]


def test_a_function_that_is_named_may_be_called_and_no_other(library: ModuleType) -> None:
    Afterword(FastAPI(), url="sqlite:///jobs.db", tasks=[library.__dict__["work"]])

    assert [True, False] == [may_call("library"), may_call("library.inner")]


def test_the_function_of_a_schedule_may_be_called(library: ModuleType) -> None:
    afterword = Afterword(FastAPI(), url="sqlite:///jobs.db")
    afterword.every(seconds=60)(library.__dict__["work"])

    assert may_call("library")


def test_a_schedule_whose_function_hides_another_is_told(library: ModuleType) -> None:
    afterword = Afterword(FastAPI(), url="sqlite:///jobs.db")
    task(library.__dict__["work"])

    def work() -> None: ...

    work.__module__, work.__qualname__ = "library", "work"
    afterword.every(seconds=60)(work)

    with pytest.raises(DuplicateTask):
        names.check_names()


def test_what_is_only_imported_by_a_module_is_not_called(library: ModuleType, place: Path) -> None:
    code = f"from library import work as renamed, work\n{MAIN.replace(CODE, '')}"
    load("main", folders=(tree(place / "site", {"main.py": code}),))
    for name in ("main:work", "main:renamed"):
        with pytest.raises(UnknownTask):
            resolve(name)

    assert sys.modules["main"].__dict__["work"] is library.__dict__["work"]


@pytest.mark.parametrize("value", ["library", [5], ["library"], {"library": 1}, None])
def test_tasks_takes_modules_and_functions(value: object) -> None:
    with pytest.raises(ConfigurationError, match="tasks must be a list of modules and functions"):
        Afterword(FastAPI(), url="sqlite:///jobs.db", tasks=value)  # type: ignore[arg-type]


def test_functions_of_afterword_itself_are_never_called() -> None:
    application.include("afterword.demo.application")
    assert "none" == application.described()
    for name in ("afterword.store:open_store", "afterword.demo.report:leftovers"):
        importlib.import_module(name.partition(":")[0])
        with pytest.raises(UnknownTask):
            resolve(name)
    with pytest.raises(ConfigurationError, match=r"afterword\.store is one of Afterword's own"):
        Afterword(FastAPI(), url="sqlite:///jobs.db", tasks=[sys.modules["afterword.store"]])


def test_the_module_of_a_subclass_is_not_the_application(place: Path) -> None:
    """Only the module that makes the object is."""
    kit = (
        "from fastapi import FastAPI\n"
        "from afterword import Afterword\n"
        "class Ours(Afterword):\n"
        "    def __init__(self) -> None:\n"
        "        super().__init__(FastAPI(), url='sqlite:///jobs.db')\n" + CODE
    )
    main = "from kit import Ours\nOurs()\n" + CODE
    load("main", folders=(tree(place / "site", {"main.py": main}), tree(place, {"kit.py": kit})))

    assert [True, False] == [may_call("main"), may_call("kit")]


@pytest.mark.parametrize("shell", ["sqlite"], indirect=True)
def test_the_doctor_lists_what_may_be_called(shell: Shell, place: Path) -> None:
    code = f"""
from fastapi import FastAPI
from afterword import Afterword, task
app = FastAPI()
afterword = Afterword(app, url={shell.url!r})
@task
def send() -> None: ...
"""
    tree(place, {"shop.py": code})

    done = shell.run("doctor", "--app", "shop:app")

    assert "ok       registered tasks: shop:send" in done.lines
    assert f"ok       modules of tasks: all functions of shop; modules imported from {place}" in (
        done.lines
    )


# ---------------------------------------------------------------------- other processes


def test_a_script_may_add_what_is_not_installed(place: Path) -> None:
    """It runs nothing, so the application's modules are not needed and not called."""
    folders = (
        tree(place / "site", WAYS["a-package"][0] | {"app/main.py": CODE}),
        tree(place / "target", LIBRARY | METADATA),
        tree(place / "scripts", {"send.py": MAIN.replace("FastAPI(), ", "")}),
    )
    load("app.main", "library", "send", folders=folders)
    work, of_library = (sys.modules[each].__dict__["work"] for each in ("app.main", "library"))

    with pytest.raises(UnknownTask):
        resolve("app.main:work")
    assert "app.main:work" == storable(work)
    assert resolve("app.main:work") is work  # for the types of its results
    with pytest.raises(NotStorable):
        storable(of_library)


def test_a_child_process_knows_what_its_parent_knows(place: Path) -> None:
    files, modules = WAYS["packages-side-by-side"]
    load(*modules, folders=(tree(place / "site", files),))
    known = application.known()
    application._packages.clear()
    application._folders.clear()
    application.adopt(known)

    assert [True, True] == [may_call(each) for each in modules]
