"""The work of a rollout's phases, in threads of their own."""
