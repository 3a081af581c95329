"""Gateways in a cluster: Envoy in pods, each with an agent, driven by the routing that the engine decides.

    router          the Router port: publishes what is decided, and waits for what gateways report
    agent           brings the Envoy of a gateway to what is published, and reports what it runs
    cluster_board   where the two meet: a Secret, a Lease a gateway, EndpointSlices
    manifests       what a cluster needs for it

`python -m serinus.targets.kubernetes.gateway` is the agent, `...gateway.proxy` starts Envoy.
"""
