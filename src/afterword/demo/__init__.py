"""The demonstration of the promise: a real server is killed in the middle of its work.

`application` is an example of a user's code, `server` runs it in a process of its own, `load` has
its clients, `crash` runs the steps, and `report` checks every promised task.

With `--dashboard`, `live` runs `shop` until it is killed by hand, and starts it again. `day` fills
a store like that of such a shop after a day's work.
"""
