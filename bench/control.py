"""What the control process costs: a tick of the engine with many models at rest, and a look at the status page.

Real are the engine, the store, the files of the router, Git, the counts of the prediction log, and the clients of the
host. What they ask is answered by a process beside it (`bench.controlstandins`), so that only their own cost counts.
"""
