"""What an installation of the control plane is told: the values of the chart, which `serinus install` reads as well.

`config` is what the control plane itself reads; everything else is about its pods.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import yaml
from pydantic import AfterValidator, BeforeValidator, Field, create_model

from serinus.core.buckets import BucketAddress
from serinus.core.errors import InvalidInput
from serinus.spec.quantities import Size
from serinus.spec.section import Section
from serinus.targets.kubernetes import settings as cluster
from serinus.targets.kubernetes.settings import ClusterSettings
from serinus.targets.kubernetes.settings_values import Pinned, expected

__all__ = ["Config", "Secrets", "Storage", "Values", "settings_of"]

COLLECTORS_PORT = 7443
API_PORT = 8443
SERVICE_PORT = 443
"""Of the API, by which people call it in the cluster."""
NAME = "serinus-control"
"""Of the pods, followed by their number, and of what belongs to them."""
SECRETS = "/etc/serinus"
"""Where the Secrets are mounted, each in a directory of its own."""
_GIB = 2**30


def _without(section: type[Section], *names: str, **changed: Any) -> Any:
    """The same section without the fields that the chart decides, or with others."""
    fields: dict[str, Any] = {
        name: (info.annotation, info) for name, info in section.model_fields.items() if name not in names
    }
    found = create_model(section.__name__, __base__=Section, **{**fields, **changed})
    found.__doc__ = section.__doc__
    return found


if TYPE_CHECKING:
    Cluster: TypeAlias = Any  # It is made of other sections when the module is imported.
else:
    _Gateways = _without(cluster.GatewaysSection, "namespace", "python", "probes")
    _Collectors = _without(cluster.CollectorsSection, "listen", "addresses", "certificate")
    _Fleet = _without(cluster.FleetSection, "credentials")
    Cluster = _without(
        ClusterSettings,
        *("kubeconfig", "context", "control_planes", "control"),
        images=(_without(cluster.ImagesSection, "interpreters"), ...),
        gateways=(_Gateways, _Gateways()),
        collectors=(_Collectors, _Collectors()),
        fleet=(_Fleet | None, Field(default=None, description=ClusterSettings.model_fields["fleet"].description)),
    )
"""The settings of a cluster, without what follows from where the control plane runs."""


def _bucket(text: str) -> str:
    try:
        return str(BucketAddress.parse(text))
    except InvalidInput as error:
        raise expected(f"the address of a bucket, such as s3://fraud/serinus: {error.message}") from error


def _database(text: str) -> str:
    if re.fullmatch(r"postgresql://[^\s:@/]+@[^\s@]+", text) is None:
        raise expected("postgresql://USER@HOST/DATABASE, without a password, which belongs into the Secret `variables`")
    return text


def _web(text: str) -> str:
    if re.fullmatch(r"https?://[^\s@]+", text) is None:
        raise expected(
            "a URL such as http://mlflow:5000, without credentials, which belong into the Secret `variables`"
        )
    return text


class Config(Section):
    """What the control plane is told. A change restarts its pods."""

    cluster: Cluster = Field(
        description="The settings of the cluster, see docs/kubernetes.md. What follows from where the control plane "
        "runs is not among them."
    )
    mlflow: Annotated[str, AfterValidator(_web)] = Field(
        description="The address of the MLflow server.", json_schema_extra={"pattern": r"^https?://[^@]+$"}
    )
    predictions: Annotated[str, AfterValidator(_bucket)] = Field(
        description="The bucket of the prediction log, such as s3://fraud/serinus/predictions.",
        json_schema_extra={"pattern": "^s3://"},
    )
    database: Annotated[str, AfterValidator(_database)] = Field(
        description="The PostgreSQL database of counts and outcomes, as postgresql://USER@HOST/DATABASE.",
        json_schema_extra={"pattern": "^postgresql://[^:@/]+@"},
    )
    hosts: tuple[str, ...] = Field(
        default=(),
        description="Names by which people call the API, besides those of its Service. The first one is in links, with "
        "its port: `serinus.example.org:31443` where people use a NodePort. Default: 443.",
    )
    insecure: bool = Field(
        default=False,
        description="The API speaks plain HTTP. Only where something else encrypts what is sent, such as an Ingress "
        "and a mesh.",
    )
    unconfined: bool = Field(
        default=False,
        description="The control plane starts on a node whose kernel has no Landlock. Files of models are then read "
        "without confinement.",
    )
    builds: bool = Field(default=False, description="Packages without a wheel are built, confined.")
    disk: Size = Field(
        default=12 * _GIB,
        description="Bytes of environments, artifacts, graphs and logs, beyond which those that nothing needs are "
        "removed. Layers of images are not counted: `storage.size` has to have room for both.",
    )


class Secrets(Section):
    """Names of Secrets in the namespace of the chart. They are not made by it."""

    identity: str = Field(
        default="serinus-identity", description="`secret`: 64 hexadecimal digits, from which keys are derived."
    )
    store: str = Field(default="serinus-store", description="`url`: of the PostgreSQL database of the store.")
    collectors: str = Field(
        default="serinus-collectors-tls",
        description="`tls.crt`, `tls.key`, `ca.crt`: the certificate of collectors, valid for "
        "`config.cluster.collectors.name`.",
    )
    api: str = Field(
        default="serinus-api-tls",
        description="`tls.crt`, `tls.key`: the certificate of the API. Not needed with `config.insecure`.",
    )
    registry: str = Field(
        default="serinus-registry",
        description="Of the type kubernetes.io/dockerconfigjson: may push below `config.cluster.images.repository`. "
        "Optional.",
    )
    git: str = Field(
        default="serinus-git",
        description="`credentials`: of the fleet repository, as git-credential-store has them. Optional.",
    )
    variables: str = Field(
        default="serinus-variables",
        description="Variables of the processes: PGPASSWORD, MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD or "
        "MLFLOW_TRACKING_TOKEN, AWS_ACCESS_KEY_ID and others of AWS, UV_DEFAULT_INDEX and others of uv. Optional.",
    )


class Storage(Section):
    """The disk of each pod: records that are not in the bucket yet, and caches."""

    size: str = Field(default="30Gi", pattern=r"^[1-9][0-9]*[MGT]i$", description="A quantity of Kubernetes.")
    storage_class: str | None = Field(
        default=None, alias="class", description="The StorageClass. Default: that of the cluster."
    )


_RESOURCES: dict[str, Any] = {"limits": {"memory": "4Gi"}, "requests": {"cpu": "500m", "memory": "1Gi"}}


def _over(below: Any, above: Any) -> Any:
    """As Helm brings given values over its defaults: mappings by their names, where null takes a name away."""
    if not (isinstance(below, Mapping) and isinstance(above, Mapping)):
        return above
    found = {**below, **{name: _over(below.get(name), one) for name, one in above.items()}}
    return {name: one for name, one in found.items() if one is not None}


class Values(Section):
    """The values of the chart."""

    image: Pinned = Field(
        description="The image of the control plane, with its digest, as `serinus install --image` prints it.",
        json_schema_extra={"pattern": "@sha256:[0-9a-f]{64}$"},
    )
    pull_secrets: tuple[Mapping[str, str], ...] = Field(
        default=(), alias="pullSecrets", description="Secrets by which nodes pull the image, as `[{name: registry}]`."
    )
    replicas: int = Field(default=2, ge=1, description="Control planes, of which one decides.")
    config: Config
    secrets: Secrets = Secrets()
    storage: Storage = Storage()
    service: Literal["ClusterIP", "NodePort", "LoadBalancer"] = Field(
        default="ClusterIP", description="Type of the Service of the API."
    )
    resources: Annotated[Mapping[str, Any], BeforeValidator(lambda given: _over(_RESOURCES, given))] = Field(
        default=_RESOURCES, description="Of a pod, as Kubernetes has it."
    )
    node_selector: Mapping[str, str] = Field(
        default={}, alias="nodeSelector", description="Labels of the nodes, as Kubernetes has them."
    )
    tolerations: tuple[Mapping[str, Any], ...] = Field(
        default=(), description="Of taints of nodes, as Kubernetes has them."
    )
    above: Mapping[str, Any] = Field(
        default={}, alias="global", description="Values of a chart that contains this one. Not used."
    )


Draft = _without(Values, image=(Pinned | None, None))
"""Values without an image, which is built by what they say."""


def settings_of(config: Config, namespace: str, replicas: int, *, git: bool) -> dict[str, Any]:
    """The settings of the cluster as a control plane in `namespace` reads them. `git`: whether there are credentials
    for the fleet repository."""
    found: dict[str, Any] = config.cluster.model_dump(mode="json", by_alias=True, exclude_none=True)
    certificate = {"chain": "tls.crt", "key": "tls.key", "authority": "ca.crt"}
    found["gateways"]["namespace"] = namespace
    found["collectors"] |= {
        "listen": f"0.0.0.0:{COLLECTORS_PORT}",
        # Pods try them in turn, so that one of them counts while it is there.
        "addresses": [f"{NAME}-{number}.{NAME}.{namespace}.svc:{COLLECTORS_PORT}" for number in range(replicas)],
        "certificate": {name: f"{SECRETS}/collectors/{file}" for name, file in certificate.items()},
    }
    found["control"] = {"store": f"{SECRETS}/store/url", "namespace": namespace}
    if git and "fleet" in found:
        found["fleet"]["credentials"] = f"{SECRETS}/git/credentials"
    return found


def as_text(settings: Mapping[str, Any]) -> str:
    """The settings as a file."""
    return yaml.safe_dump(dict(settings), sort_keys=False)
