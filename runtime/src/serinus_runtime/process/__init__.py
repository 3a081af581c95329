"""The processes that serve: zygotes, workers, their event loop, draining, and the socket to the host."""
