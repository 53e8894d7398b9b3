"""The promise where one can see it: a real server is killed in the middle of its work.

`application` is what a user would write, `server` runs it in a process of its own, `load` is its
clients, `crash` is the story, and `report` says what became of every task that was promised.
"""
