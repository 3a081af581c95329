"""The loop: observes, decides, acts, and stores what came of it."""
