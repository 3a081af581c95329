"""The vocabulary of Serinus: frozen values by subject, errors, and the ports to the outside.

Times are aware datetimes in UTC. Durations are in seconds unless a name ends in `_ms`.
"""
