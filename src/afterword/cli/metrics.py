"""`afterword metrics`: a store's metrics, for Prometheus and for autoscalers."""

import importlib.util
from typing import Annotated

import typer

from afterword.cli import output
from afterword.cli.listening import Host, listen
from afterword.cli.options import Json, Url, clock, opened
from afterword.cli.parsers import whole
from afterword.errors import MissingExtra
from afterword.exporter.application import exporter
from afterword.exporter.depth import depth
from afterword.exporter.ended import EndedJobs
from afterword.exporter.gauges import Gauges
from afterword.model.clock import Clock, StoreClock
from afterword.store.protocol import Store


def metrics(
    url: Url = None,
    json: Json = False,
    port: Annotated[
        int | None,
        typer.Option(
            metavar="PORT",
            parser=whole("PORT", 0, 65_535),
            help="Serve them on this port; 0: any free one.",
        ),
    ] = None,
    host: Host = "127.0.0.1",
) -> None:
    """Print the metrics of a store for Prometheus, or serve them.

    Needs only the store: your code is not imported. `--json` prints the depth and the age of the
    queues, for autoscalers; with --port, they are at /queues, and those of one at /queues/NAME.

    \b
    Examples:
      afterword metrics
      afterword metrics --json
      afterword metrics --port 9464 --host 0.0.0.0
    """
    with opened(url) as store:
        now = _clock_of(store).now
        gauges = Gauges(lambda: store, now)
        if port is not None:
            _serve(gauges, EndedJobs(lambda: store, now), host, port, store.url)
        elif json:
            output.print_document(depth(gauges))
        else:
            output.write(_page(gauges, EndedJobs(lambda: store, now)))


def _clock_of(store: Store) -> Clock:
    """Return the store's clock: ages would be wrong by that of another host."""
    store_clock = StoreClock(clock)
    store_clock.set_by(store.now)
    return store_clock


def _page(gauges: Gauges, ended: EndedJobs) -> str:
    if importlib.util.find_spec("prometheus_client") is None:
        raise MissingExtra("afterword metrics", "afterword[prometheus]")
    from afterword.exporter.prometheus import StoreCollector, page

    body, _ = page(StoreCollector(gauges, ended), "")
    return body.decode()


def _serve(gauges: Gauges, ended: EndedJobs, host: str, port: int, url: str) -> None:
    if importlib.util.find_spec("uvicorn") is None:
        raise MissingExtra("afterword metrics --port", "afterword[cli]")
    import uvicorn

    served = exporter(gauges, ended)
    config = uvicorn.Config(
        served, host=host, port=port, log_level="warning", lifespan="off", access_log=False
    )
    listening = listen(config)
    ended.read()  # the first time it takes longer
    output.tell(f"the metrics of {url} (Ctrl-C ends it):")
    output.write(f"http://{host}:{listening.getsockname()[1]}/metrics\n")
    uvicorn.Server(config).run(sockets=[listening])
