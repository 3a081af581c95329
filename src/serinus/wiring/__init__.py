"""The only place that knows which target it is: makes the backends and hands them on."""
