"""Metrics of a store for Prometheus, and the depth of its queues for autoscalers.

    gauges.py        how the store is now: queues, workers, schedules; OpenTelemetry reads them too
    ended.py         how many jobs have ended, as counters that only rise
    prometheus.py    both as a page for Prometheus
    depth.py         the queues as JSON, for what starts and stops workers
    application.py   serves the two

What is told is of the whole store, so one process has to be asked, whichever it is. Nothing in it
tells of a single job: there are names of tasks, queues and schedules, and numbers.
"""
