"""The address that a command listens on."""

import socket
from typing import TYPE_CHECKING, Annotated

import typer

from afterword.errors import ConfigurationError

if TYPE_CHECKING:
    import uvicorn

Host = Annotated[str, typer.Option(metavar="ADDRESS", help="The address to listen on.")]


def listen(config: "uvicorn.Config") -> socket.socket:
    """Listen at the address of a server, so that its URL works as soon as it is printed.

    Raises:
        ConfigurationError: it is not an address of this machine, or it is taken.
    """
    require_free(config.host, config.port)
    listening = config.bind_socket()
    listening.listen(config.backlog)
    return listening


def require_free(host: str, port: int) -> None:
    """Refuse an address on which nothing can listen; uvicorn would only name the system's error.

    Raises:
        ConfigurationError: it is not an address of this machine, or it is taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ConfigurationError(
                f"--host and --port must name a free address of this machine, but port {port} of"
                f" {host} is not: {error.strerror}. Choose another --port."
            ) from error
