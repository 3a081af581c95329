"""Confinement of processes that run or read a model's code: Landlock, seccomp and namespaces."""
