"""Metrics of a store for Prometheus, and the depth of its queues for autoscalers.

    gauges.py        the present state: queues, workers, schedules; OpenTelemetry reads them, too
    ended.py         the number of ended jobs, as counters that only rise
    prometheus.py    both as a page for Prometheus
    depth.py         the queues as JSON, for autoscalers
    application.py   serves the two pages

The numbers cover the whole store, so it is enough to read them from one process. There are names of
tasks, queues and schedules, and numbers, but no single jobs.
"""
