"""`make demo-cluster`: the same story on a Kubernetes cluster, by way of Git and Argo CD."""
