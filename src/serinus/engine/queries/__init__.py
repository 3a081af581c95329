"""The questions of people, and their answers. Only reads."""
