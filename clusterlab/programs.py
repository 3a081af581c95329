"""The programs of the lab: how each is started, after which others, and how it is seen that it is ready."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from clusterlab import LabError, image, manifests
from clusterlab.checks import Check, answers, listens, tells
from clusterlab.configuration import DNS_READY
from clusterlab.modules import program
from clusterlab.place import NODE, PODS, REGISTRY, REPOSITORIES, SERVICES, Place

_LOCAL = "127.0.0.1"
_ETCD = f"http://{_LOCAL}:2379"
_REPOSITORY_SERVER = f"{_LOCAL}:8081"
_ALONE = (f"--bind-address={_LOCAL}", "--leader-elect=false")
_NODE_READY = '{.status.conditions[?(@.type=="Ready")].status}'


@dataclass(frozen=True, slots=True)
class Program:
    name: str
    command: tuple[str, ...]
    ready: Check
    after: tuple[str, ...] = ()
    """What has to be ready before it starts."""
    before: Callable[[], None] = lambda: None
    """What is done before it starts. Raises LabError."""
    environment: Mapping[str, str] = field(default_factory=dict)


def all_of(place: Place) -> tuple[Program, ...]:
    """In the order in which they start."""
    return (*_base(place), *_control_plane(place), *_node(place), *_argo_cd(place))


def _base(place: Place) -> tuple[Program, ...]:
    return (
        Program(
            "registry",
            ("docker-registry", "serve", f"{place.etc}/registry.yaml"),
            answers(f"http://{REGISTRY}/v2/"),
        ),
        Program(
            "containerd",
            ("containerd", "--config", f"{place.etc}/containerd.toml"),
            tells(("ctr", "version")),
        ),
        Program(
            "etcd",
            (
                *(str(program("etcd")), "--data-dir", f"{place.directory}/etcd", "--unsafe-no-fsync"),
                *("--listen-client-urls", _ETCD, "--advertise-client-urls", _ETCD),
            ),
            answers(f"{_ETCD}/health", holding='"true"'),
        ),
        Program("redis", ("redis-server", "--bind", _LOCAL, "--save", ""), listens(_LOCAL, 6379)),
        Program(
            "git",
            (
                *("git", "daemon", "--reuseaddr", "--export-all", "--enable=receive-pack"),
                *(f"--listen={NODE}", f"--base-path={REPOSITORIES}"),
            ),
            listens(NODE, 9418),
            # The repositories are of who made them.
            environment={"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"},
        ),
    )


def _control_plane(place: Place) -> tuple[Program, ...]:
    kubectl = _kubectl(place)
    etc = place.etc
    return (
        Program(
            "kube-apiserver",
            (
                *(str(program("kube-apiserver")), f"--etcd-servers={_ETCD}", f"--advertise-address={NODE}"),
                f"--service-cluster-ip-range={SERVICES}",
                *("--authorization-mode=Node,RBAC", "--allow-privileged", "--enable-aggregator-routing=false"),
                *(f"--tls-cert-file={etc}/apiserver.crt", f"--tls-private-key-file={etc}/apiserver.key"),
                f"--client-ca-file={etc}/ca.crt",
                f"--service-account-key-file={etc}/service-accounts.crt",
                f"--service-account-signing-key-file={etc}/service-accounts.key",
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--kubelet-client-certificate={etc}/kubelet-client.crt",
                f"--kubelet-client-key={etc}/kubelet-client.key",
                "--kubelet-preferred-address-types=InternalIP",
                f"--requestheader-client-ca-file={etc}/front-proxy-ca.crt",
                f"--proxy-client-cert-file={etc}/front-proxy.crt",
                f"--proxy-client-key-file={etc}/front-proxy.key",
                "--requestheader-allowed-names=front-proxy-client",
                "--requestheader-username-headers=X-Remote-User",
                "--requestheader-group-headers=X-Remote-Group",
                "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            ),
            tells((*kubectl, "get", "--raw", "/readyz")),
            after=("etcd",),
        ),
        Program(
            "kube-controller-manager",
            (
                *(str(program("kube-controller-manager")), *_identity(place, "controller-manager"), *_ALONE),
                f"--service-account-private-key-file={etc}/service-accounts.key",
                f"--root-ca-file={etc}/ca.crt",
                *("--use-service-account-credentials=true", f"--cluster-cidr={PODS}", "--allocate-node-cidrs=false"),
                # An autoscaler that a test can wait for; the defaults are minutes.
                "--horizontal-pod-autoscaler-sync-period=2s",
                "--horizontal-pod-autoscaler-downscale-stabilization=10s",
                "--horizontal-pod-autoscaler-cpu-initialization-period=10s",
                "--horizontal-pod-autoscaler-initial-readiness-delay=2s",
            ),
            tells((*kubectl, "--namespace=default", "get", "serviceaccount", "default")),
            after=("kube-apiserver",),
        ),
        Program(
            "kube-scheduler",
            (str(program("kube-scheduler")), *_identity(place, "scheduler"), *_ALONE),
            answers(f"https://{_LOCAL}:10259/healthz"),
            after=("kube-apiserver",),
        ),
    )


def _node(place: Place) -> tuple[Program, ...]:
    kubectl = _kubectl(place)
    return (
        Program(
            "kubelet",
            (
                *(str(program("kubelet")), f"--config={place.etc}/kubelet.yaml"),
                *(f"--kubeconfig={place.kubeconfig('kubelet')}", f"--root-dir={place.directory}/kubelet"),
                *("--hostname-override=lab", f"--node-ip={NODE}"),
            ),
            tells((*kubectl, "get", "node", "lab", f"--output=jsonpath={_NODE_READY}"), holding="True"),
            after=("containerd", "registry", "kube-apiserver"),
            before=_push_pause,
        ),
        Program(
            "kube-proxy",
            (str(program("kube-proxy")), f"--config={place.etc}/kube-proxy.yaml"),
            answers(f"http://{_LOCAL}:10256/healthz"),
            after=("kubelet",),
        ),
        Program(
            "coredns",
            (str(program("coredns")), "-conf", f"{place.etc}/Corefile"),
            answers(f"http://{DNS_READY}/ready"),
            after=("kube-apiserver",),
        ),
        Program(
            "metrics-server",
            (
                *(str(program("metrics-server")), "--secure-port=4443", f"--bind-address={_LOCAL}"),
                *_identity(place, "admin"),
                *(f"--cert-dir={place.directory}/metrics-server", "--kubelet-insecure-tls"),
                *("--kubelet-preferred-address-types=InternalIP", "--kubelet-use-node-status-port"),
                *("--metric-resolution=10s", "--kubelet-request-timeout=5s"),
            ),
            tells((*kubectl, "get", "--raw", "/apis/metrics.k8s.io/v1beta1/nodes"), holding='"usage"'),
            after=("kubelet",),
            before=lambda: apply(place, manifests.metrics()),
        ),
    )


def _argo_cd(place: Place) -> tuple[Program, ...]:
    home = place.directory / "argo-cd"
    environment = {
        "KUBECONFIG": str(place.kubeconfig("admin")),
        "ARGOCD_FAKE_IN_CLUSTER": "true",
        "ARGOCD_GPG_ENABLED": "false",
        "ARGOCD_GNUPGHOME": str(home / "gnupg"),
        "GNUPGHOME": str(home / "gnupg"),
        "ARGOCD_TLS_DATA_PATH": str(home / "tls"),
        "ARGOCD_SSH_DATA_PATH": str(home / "ssh"),
        "ARGOCD_GPG_DATA_PATH": str(home / "gpg"),
        "ARGOCD_PLUGINSOCKFILEPATH": str(home / "plugins"),
        "REDIS_PASSWORD": "",
    }

    def component(name: str, ready: Check, *arguments: str, after: tuple[str, ...]) -> Program:
        return Program(
            f"argocd-{name}",
            (str(program("argocd")), *arguments),
            ready,
            after=after,
            before=(lambda: _argo_cd_begins(place, home)) if name == "repo-server" else (lambda: None),
            environment={**environment, "ARGOCD_BINARY_NAME": f"argocd-{name}"},
        )

    # Its probe has no checks.
    reconciling = answers(f"http://{_LOCAL}:8085/metrics", holding="controller_runtime_max_concurrent_reconciles")
    redis = f"--redis={_LOCAL}:6379"
    cluster = ("--namespace=argocd", f"--kubeconfig={place.kubeconfig('admin')}", "--repo-server-plaintext")
    return (
        component(
            *(
                "repo-server",
                answers(f"http://{_LOCAL}:8084/healthz"),
                redis,
                "--address=127.0.0.1",
                "--port=8081",
                "--metrics-port=8084",
            ),
            *("--disable-tls", "--metrics-address=127.0.0.1"),
            after=("kube-controller-manager", "redis", "git"),
        ),
        component(
            *(
                "application-controller",
                answers(f"http://{_LOCAL}:8082/healthz"),
                *cluster,
                redis,
                f"--repo-server={_REPOSITORY_SERVER}",
            ),
            *("--metrics-port=8082", "--app-resync=10", "--status-processors=4", "--operation-processors=4"),
            after=("argocd-repo-server",),
        ),
        component(
            *("applicationset-controller", reconciling, *cluster, f"--argocd-repo-server={_REPOSITORY_SERVER}"),
            *(f"--metrics-addr={_LOCAL}:8085", f"--probe-addr={_LOCAL}:8086", f"--webhook-addr={_LOCAL}:8087"),
            after=("argocd-repo-server",),
        ),
    )


def apply(place: Place, documents: str) -> None:
    """Raises LabError."""
    told = subprocess.run(
        [*_kubectl(place), "apply", "--server-side", "--force-conflicts", "--filename=-"],
        input=documents,
        capture_output=True,
        text=True,
        timeout=120,
    )
    if told.returncode:
        raise LabError(f"The cluster refuses what the lab needs in it: {told.stderr.strip()}")


def _identity(place: Place, user: str) -> tuple[str, ...]:
    """The flags with which a component speaks to the API server, and asks it who speaks to itself."""
    flags = ("kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig")
    return tuple(f"--{flag}={place.kubeconfig(user)}" for flag in flags)


def _kubectl(place: Place) -> tuple[str, ...]:
    return (str(program("kubectl")), f"--kubeconfig={place.kubeconfig('admin')}", "--request-timeout=8s")


def _push_pause() -> None:
    image.push(REGISTRY, "pause", program("pause"), plain=[REGISTRY])


def _argo_cd_begins(place: Place, home: Path) -> None:
    for name in ("gnupg", "tls", "ssh", "gpg", "plugins"):
        (home / name).mkdir(mode=0o700, parents=True, exist_ok=True)
    apply(place, manifests.argo_cd_namespace())
    apply(place, manifests.argo_cd())
