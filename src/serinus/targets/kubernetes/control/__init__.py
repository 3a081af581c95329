"""The control plane in a cluster.

    values      what an installation is told
    rights      what the control plane may do in the cluster
    manifests   the objects of an installation, one function a manifest
    chart       the Helm chart, made of the same functions
    starting    what a container of the control plane runs first

`python -m serinus.targets.kubernetes.control` is that first process.
"""
