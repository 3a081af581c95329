"""What everything else is written in terms of: frozen values by subject, errors, and ports.

Times are aware UTC datetimes, durations are seconds unless a name ends in `_ms`.
"""
