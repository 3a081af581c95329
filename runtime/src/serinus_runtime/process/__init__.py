"""The processes that serve: zygotes, workers, their event loop, load reports, draining, and the socket to the host."""
