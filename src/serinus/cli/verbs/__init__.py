"""One file a verb (`orders` has three that are one)."""
