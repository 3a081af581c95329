"""What a worker answers to a request: routes, deadlines, fallbacks, early refusal."""
