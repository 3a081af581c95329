"""A Kubernetes cluster as the place where releases run."""
