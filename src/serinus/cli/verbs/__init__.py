"""The verbs, one in each file. `orders` has three that belong together."""
