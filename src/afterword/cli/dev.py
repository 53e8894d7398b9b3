"""`afterword dev`: the application and its worker in one server that reloads."""

import importlib.util
import os
import sys
from typing import Annotated

import typer
from starlette.types import ASGIApp

from afterword.cli import output
from afterword.cli.discovery import VARIABLE, find_application, locate, require_module
from afterword.cli.exit_code import exit_code_of
from afterword.cli.listening import Host, require_free
from afterword.cli.parsers import whole
from afterword.cli.worker import App
from afterword.errors import AfterwordError, MissingExtra


def dev(
    app: App = None,
    host: Host = "127.0.0.1",
    port: Annotated[
        int, typer.Option(metavar="PORT", parser=whole("PORT", 1, 65_535), help="The port.")
    ] = 8000,
    reload: Annotated[
        bool, typer.Option("--reload/--no-reload", help="Restart when the source changes.")
    ] = True,
) -> None:
    """Serve an application and its worker while you write it.

    Both run in one process. The worker runs even if the application has
    `Afterword(app, worker=False)`.

    \b
    Examples:
      afterword dev main:app
      afterword dev --port 8080
    """
    if importlib.util.find_spec("uvicorn") is None:
        raise MissingExtra("afterword dev", "afterword[cli]")
    import uvicorn

    target = locate(app)
    require_module(target)  # a reload cannot mend a mistyped name
    if app is not None:
        os.environ[VARIABLE] = app  # for the process that uvicorn starts
    require_free(host, port)
    output.tell(f"{target.module} at http://{_shown(host)}:{port} (Ctrl-C ends it)")
    folder = [str(target.folder)] if reload else None
    uvicorn.run(
        "afterword.cli.dev:served",
        factory=True,
        host=host,
        port=port,
        reload=reload,
        reload_dirs=folder,
    )


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def served() -> ASGIApp:
    """Return the application for uvicorn, with its worker enabled."""
    try:
        application = find_application()
        application.afterword.configure_worker()
    except AfterwordError as error:
        output.tell(f"afterword: {error}")
        sys.exit(exit_code_of(error))
    url = application.afterword.url
    output.tell(f"jobs are kept in {url}; look at them with: afterword jobs --url {url}")
    return application.asgi
