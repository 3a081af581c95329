"""The files that the programs are started with: a mapping from paths below `Place.etc` to contents. Pure functions."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from clusterlab import image
from clusterlab.pki import Authority, Pair, signing_key
from clusterlab.place import API, CGROUP, DOMAIN, NODE, PODS, REGISTRY, SERVICE_OF_THE_API, Place

USERS = {
    "admin": ("admin", "system:masters"),
    "controller-manager": ("system:kube-controller-manager", None),
    "scheduler": ("system:kube-scheduler", None),
    "kubelet": ("system:node:lab", "system:nodes"),
    "proxy": ("system:kube-proxy", None),
}
"""Who has a kubeconfig: its name -> the name and the group that the API server knows."""
PAUSE = f"{REGISTRY}/pause:{image.TAG}"
_HOSTS = f"""\
server = "http://{REGISTRY}"
[host."http://{REGISTRY}"]
  capabilities = ["pull", "resolve"]
"""
DNS_READY = "127.0.0.1:8181"
"""Where the name server says whether it is ready."""
_API_NAMES = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost")


def files(place: Place) -> Mapping[str, str | bytes]:
    """All of them, with new keys."""
    authority, front_proxy = Authority("serinus-lab"), Authority("serinus-lab-front-proxy")
    pairs = {
        "apiserver": authority.issue("kube-apiserver", hosts=[*_API_NAMES, "127.0.0.1", NODE, SERVICE_OF_THE_API]),
        "kubelet": authority.issue("system:node:lab", group="system:nodes", hosts=["lab", NODE]),
        "kubelet-client": authority.issue("kube-apiserver-kubelet-client", group="system:masters"),
        "front-proxy": front_proxy.issue("front-proxy-client"),
        "service-accounts": signing_key(),
    }
    made: dict[str, str | bytes] = {
        "ca.crt": authority.certificate,
        "front-proxy-ca.crt": front_proxy.certificate,
        "cni/10-lab.conflist": _json(cni()),
        f"registries/{REGISTRY}/hosts.toml": _HOSTS,
        "containerd.toml": containerd(place),
        "registry.yaml": _json(registry(place)),
        "kubelet.yaml": _json(kubelet(place)),
        "kube-proxy.yaml": _json(kube_proxy(place)),
        "Corefile": corefile(place),
        "resolv.conf": "",  # of the node, which needs no names
    }
    for name, pair in pairs.items():
        made |= {f"{name}.crt": pair.certificate, f"{name}.key": pair.key}
    for user, (name, group) in USERS.items():
        pair = authority.issue(name, group=group)
        made[f"{user}.kubeconfig"] = _json(kubeconfig(user, authority.certificate, pair))
    return made


def kubeconfig(user: str, authority: bytes, pair: Pair) -> dict[str, Any]:
    """It holds the credentials itself, so that it can be copied."""
    cluster = {"server": API, "certificate-authority-data": _base64(authority)}
    credentials = {"client-certificate-data": _base64(pair.certificate), "client-key-data": _base64(pair.key)}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "lab", "cluster": cluster}],
        "users": [{"name": user, "user": credentials}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": user}}],
        "current-context": "lab",
    }


def cni() -> dict[str, Any]:
    """A bridge. What leaves it keeps its address, so that the machine and the pods see each other as they are."""
    ipam = {"type": "host-local", "ranges": [[{"subnet": PODS}]], "routes": [{"dst": "0.0.0.0/0"}]}
    bridge = {"type": "bridge", "bridge": "lab0", "isGateway": True, "ipMasq": False, "hairpinMode": True, "ipam": ipam}
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "0.4.0", "name": "lab", "plugins": [bridge, portmap]}


def containerd(place: Place) -> str:
    return f"""\
version = 2
root = "{place.directory}/containerd"
state = "/run/containerd"
[plugins."io.containerd.internal.v1.opt"]
  path = "{place.directory}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{place.etc}/cni"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{place.etc}/registries"
"""


def registry(place: Place) -> dict[str, Any]:
    storage = {"filesystem": {"rootdirectory": str(place.directory / "registry")}, "delete": {"enabled": True}}
    return {"version": "0.1", "log": {"level": "warn"}, "storage": storage, "http": {"addr": REGISTRY}}


def kubelet(place: Place) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": NODE,
        "authentication": {
            "anonymous": {"enabled": False},
            "x509": {"clientCAFile": f"{place.etc}/ca.crt"},
            "webhook": {"enabled": True},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{CGROUP}",
        "clusterDNS": [NODE],
        "clusterDomain": DOMAIN,
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        # Of the whole machine, which is used by others as well.
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "failCgroupV1": False,
        "failSwapOn": False,
        "imageGCHighThresholdPercent": 100,
        "podLogsDir": str(place.directory / "pods"),
        "registryPullQPS": 0,
        "resolvConf": f"{place.etc}/resolv.conf",
        "serializeImagePulls": False,
        "tlsCertFile": f"{place.etc}/kubelet.crt",
        "tlsPrivateKeyFile": f"{place.etc}/kubelet.key",
        "volumePluginDir": str(place.directory / "kubelet" / "volume-plugins"),
    }


def corefile(place: Place) -> str:
    """Names of the cluster are answered, and no others: nothing beyond the machine is reached."""
    return f"""\
{DOMAIN} {{
  bind {NODE}
  errors
  ready {DNS_READY}
  kubernetes {DOMAIN} {{
    kubeconfig {place.kubeconfig("admin")}
    ttl 5
  }}
}}
"""


def kube_proxy(place: Place) -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": {"kubeconfig": str(place.kubeconfig("proxy"))},
        "clusterCIDR": PODS,
        "hostnameOverride": "lab",
        "conntrack": {"maxPerCore": 0},  # of the machine, not of the lab
    }


def _json(value: object) -> str:
    """JSON is YAML."""
    return json.dumps(value, indent=1) + "\n"


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()
