"""The demonstration of the promise: a real server is killed in the middle of its work.

`application` is what a user would write, `server` runs it in a process of its own, `load` has its
clients, `crash` runs the steps, and `report` checks every task that was promised.

With `--dashboard` it is a `live` one: `shop` works until it is killed by hand, and starts again.
`day` fills a store as after a day of such a shop's work.
"""
