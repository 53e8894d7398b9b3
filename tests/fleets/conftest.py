"""Brokers for the tests of fleets, which are skipped if none is installed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fleets import servers
from tests.fleets.servers import Broker


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A Redis server, for all tests of a module."""
    if not servers.has_redis():
        pytest.skip("there is no redis-server; scripts/test installs it as root")
    with servers.redis_server(tmp_path_factory.mktemp("redis")) as broker:
        yield broker


@pytest.fixture(scope="module")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A RabbitMQ server, for all tests of a module."""
    if not servers.has_rabbitmq():
        pytest.skip("there is no rabbitmq-server; scripts/test installs it as root")
    with servers.rabbitmq_server(tmp_path_factory.mktemp("rabbitmq")) as broker:
        yield broker


@pytest.fixture
def ran(tmp_path: Path) -> "Ran":
    """A file in which the fleet's tasks note their runs."""
    return Ran(tmp_path / "ran")


class Ran:
    """A file to which tasks append a line each time that they run."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        path.touch()

    @property
    def lines(self) -> list[str]:
        return Path(self.path).read_text().splitlines()
