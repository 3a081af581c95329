"""The responses of a worker: routes, deadlines, fallbacks and early refusals."""
