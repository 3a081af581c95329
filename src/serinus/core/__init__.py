"""Values, errors and ports: the words that every other package speaks. Imports nothing of Serinus."""
