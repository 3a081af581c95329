"""The work of a rollout's phases, each on a thread of its own."""
