"""The loop of the engine: it observes, decides, acts and stores the result."""
