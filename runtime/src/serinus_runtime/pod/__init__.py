"""One release in one container: its supervisor, which forks and restarts the workers, and says how they are.

The supervisor runs nothing of the model and imports nothing of its environment. It is process 1 of the container.
"""
