"""From a URL to a file that can be a store, or a clear refusal."""

import os
from pathlib import Path

from afterword.errors import ConfigurationError
from afterword.store.url import masked

# Locks and shared memory do not work across machines, and WAL needs both.
_NETWORK_FILE_SYSTEMS = frozenset(
    {
        "9p",
        "afs",
        "ceph",
        "cifs",
        "glusterfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "smb3",
        "smbfs",
        "virtiofs",
    }
)
_MOUNTS = Path("/proc/self/mountinfo")


def path_of(url: str) -> Path:
    """Return the file that a `sqlite://` or `sqlite+pysqlite://` URL names.

    >>> path_of("sqlite:////var/lib/app/jobs.db").as_posix()
    '/var/lib/app/jobs.db'

    Raises:
        ConfigurationError: the URL names no file.
    """
    scheme, _, rest = url.partition("://")
    name = rest.removeprefix("/")
    if name in ("", ":memory:"):
        raise ConfigurationError(
            f"Stored jobs must outlive the process, but {masked(url)} names a database in memory."
            f" Name a file: {scheme}:///jobs.db"
        )
    if not rest.startswith("/") or "?" in name or name.startswith("file:") or not Path(name).name:
        raise ConfigurationError(
            f"A SQLite URL is {scheme}:/// and a path, without host, options or file:, not"
            f" {masked(url)}. Example: {scheme}:///jobs.db (relative path),"
            f" {scheme}:////var/lib/app/jobs.db (absolute)."
        )
    return Path(os.path.realpath(name))


def check_path(path: Path, mounts: str | None = None) -> None:
    """Refuse a place where a store cannot work.

    Args:
        path: the file, which need not exist yet.
        mounts: text in the format of /proc/self/mountinfo. Default: this machine's, if it has one.

    Raises:
        ConfigurationError: a directory, a missing one, no right to write, a network file system.
    """
    # os.path: where a directory above must not be entered, pathlib raises PermissionError.
    if os.path.isdir(path):  # noqa: PTH112
        raise ConfigurationError(
            f"The store must be a file, but {path} is a directory. Add a file name."
        )
    if not os.path.isdir(path.parent):  # noqa: PTH112
        raise ConfigurationError(
            f"The store's directory does not exist: {path.parent}. Create it first."
        )
    writable = os.access(path if os.path.exists(path) else path.parent, os.W_OK)  # noqa: PTH110
    if not writable or not os.access(path.parent, os.W_OK):
        raise ConfigurationError(
            f"The store needs the right to write {path} and its directory (for the WAL)."
            " Give it to the user that runs the application."
        )
    kind = file_system(path, mounts)
    if kind in _NETWORK_FILE_SYSTEMS:
        raise ConfigurationError(
            "SQLite in WAL mode must not be used on a network file system,"
            f" but {path} is on {kind}. Put the store on a local disk."
        )


def file_system(path: Path, mounts: str | None = None) -> str | None:
    """Return the type of the file system that holds the path, e.g. "ext4"; None if unknown."""
    if mounts is None:
        mounts = _MOUNTS.read_text() if _MOUNTS.exists() else ""
    above = {str(path), *map(str, path.parents)}
    longest, kind = "", None
    for line in mounts.splitlines():
        # man 5 proc: id, parent, major:minor, root, mount point, options..., "-", type, source
        fields, _, rest = line.partition(" - ")
        point = fields.split()[4].replace("\\040", " ")
        if len(point) >= len(longest) and point in above:
            longest, kind = point, rest.split()[0]
    return kind
