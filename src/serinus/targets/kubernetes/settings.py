"""The schema of the settings of a cluster, which `serinus up --cluster FILE` reads (`settings_file`).

Sizes and durations are written as in a ModelDeployment. Relative paths are relative to the document.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from serinus.spec.quantities import Size
from serinus.spec.section import Section
from serinus.targets.kubernetes.images import Place, Reference
from serinus.targets.kubernetes.jobs import JobSettings
from serinus.targets.kubernetes.manifests import Collectors, Replicas, Settings, Sizing, Timing
from serinus.targets.kubernetes.settings_values import (
    Address,
    File,
    Listening,
    Namespace,
    Network,
    Pinned,
    Repository,
    Seconds,
    expected,
    without_password,
)

_MIB = 2**20


class ImagesSection(Section):
    """Where images are pushed to and pulled from, and what they are built on."""

    repository: Repository = Field(
        description="Registry and repository below which images are pushed, such as `registry.example/serinus`. The "
        "nodes pull them by the same name."
    )
    base: Pinned = Field(description="The base image, with its digest, for all platforms.")
    platforms: tuple[Literal["linux/amd64", "linux/arm64"], ...] = Field(
        default=("linux/amd64",), min_length=1, description="Platforms of the nodes on which releases run."
    )
    interpreters: tuple[File, ...] = Field(
        default=(), description="Prefixes of relocatable installations of Python that are put into images."
    )
    plain: tuple[str, ...] = Field(
        default=(),
        description="Registries (`host:port`) that are asked without TLS, besides those on loopback addresses.",
    )
    pull_secrets: tuple[str, ...] = Field(
        default=(), description="Names of Secrets in the namespace of releases by which the nodes pull images."
    )


class ReplicasSection(Section):
    """How many pods a release has."""

    least: int = Field(default=2, ge=1, description="Smallest number of pods.")
    most: int = Field(default=10, ge=1, description="Largest number of pods.")
    cpu_percent: int = Field(
        default=70, ge=1, description="Use of the requested processors, in percent, that the autoscaler aims at."
    )
    scale_down_after: Seconds = Field(
        default=timedelta(minutes=5), le=timedelta(hours=1), description="How long fewer pods must have sufficed."
    )
    in_flight: int | None = Field(
        default=None,
        ge=1,
        description="Requests in flight in a pod that the autoscaler aims at as well, where the cluster has an API of "
        "custom metrics. Default: it follows processors alone.",
    )

    @model_validator(mode="after")
    def _ordered(self) -> ReplicasSection:
        if self.least > self.most:
            raise expected("`least` to be at most `most`")
        return self


class SizingSection(Section):
    """What a pod gets where neither the spec nor a measurement says it."""

    workers: int = Field(default=1, ge=1, description="Workers of a pod whose spec has no `workers`.")
    worker_memory: Size = Field(default=512 * _MIB, description="Memory of one worker that was not measured.")
    headroom: float = Field(default=1.5, ge=1, description="Factor on the memory that a worker was measured to use.")
    base_memory: Size = Field(default=160 * _MIB, description="Memory of a pod beside its workers.")
    requested_share: float = Field(
        default=0.5, gt=0, le=1, description="Part of the limit of processors that is requested."
    )
    scratch: Size = Field(default=512 * _MIB, description="Limit of what a pod writes to `/scratch`.")


class TimingSection(Section):
    """The life of a pod."""

    startup: Seconds = Field(
        default=timedelta(minutes=5),
        ge=timedelta(seconds=1),
        description="Until a container must have answered its warm-up. The pull of its image does not count.",
    )
    endpoints: Seconds = Field(
        default=timedelta(seconds=5),
        ge=timedelta(seconds=1),
        description="How long a pod that is deleted still serves, while gateways leave it out.",
    )
    drain: Seconds = Field(
        default=timedelta(seconds=15), description="How long callers that are connected may go on after that."
    )
    progress: Seconds = Field(
        default=timedelta(minutes=10), description="After which Kubernetes reports that no pod becomes ready."
    )

    @model_validator(mode="after")
    def _ordered(self) -> TimingSection:
        if self.startup >= self.progress:
            raise expected("`startup` to be shorter than `progress`")
        return self


class ReleasesSection(Section):
    """How releases run."""

    replicas: ReplicasSection = ReplicasSection()
    sizing: SizingSection = SizingSection()
    timing: TimingSection = TimingSection()
    confinement: Literal["if-available", "required"] = Field(
        default="if-available",
        description="`required`: a release does not start on a node whose kernel has no Landlock.",
    )


class TrialsSection(Section):
    """The pods in which models are examined."""

    processors: float = Field(default=1.0, gt=0, description="Limit of processors of a pod that examines a model.")
    memory: Size = Field(default=2048 * _MIB, ge=256 * _MIB, description="Memory of a pod that examines a model.")
    scratch: Size = Field(
        default=1024 * _MIB, ge=_MIB, description="Limit of what a model writes while it is examined."
    )
    answer: Seconds = Field(
        default=timedelta(minutes=2),
        ge=timedelta(seconds=1),
        description="How long a model may take to answer one question, with its loading.",
    )
    start: Seconds = Field(
        default=timedelta(minutes=10),
        ge=timedelta(seconds=1),
        description="How long a pod that examines a model may take to start, with the pull of its image.",
    )


class GatewaysSection(Section):
    """The gateways, which callers send their requests to."""

    namespace: Namespace | None = Field(
        default=None, description="The namespace of gateways. Default: that of releases."
    )
    install: bool = Field(
        default=True,
        description="Whether `serinus up` installs gateways. Otherwise somebody else has to, and keep them at the "
        "version of Serinus.",
    )
    python: File | None = Field(
        default=None,
        description="Prefix of the installation of Python in their image. Default: the one that runs Serinus.",
    )
    replicas: int = Field(default=2, ge=1, description="Number of gateways.")
    threads: int = Field(default=1, ge=1, description="Threads of one Envoy, and its limit of processors.")
    cpu_request: str = Field(
        default="500m", pattern=r"^[0-9]+(\.[0-9]+|m)?$", description="Processors that one Envoy requests."
    )
    service: Literal["ClusterIP", "NodePort", "LoadBalancer"] = Field(
        default="ClusterIP", description="Type of the Service that callers use."
    )
    tls_secret: str | None = Field(
        default=None,
        description="A Secret of the type `kubernetes.io/tls` in the namespace of gateways. Without it they serve "
        "plain HTTP.",
    )
    client_certificates: bool = Field(
        default=False, description="Callers need a certificate. `ca.crt` of `tls_secret` says who vouches for them."
    )
    api_keys: Literal["required", "made", "none"] = Field(
        default="made",
        description="Whether callers need an API key: always, once `serinus key create` has made one, or never.",
    )
    address: Address | None = Field(
        default=None,
        description="Where callers outside the cluster reach gateways, which is shown to people. Default: the "
        "address of the Service `serinus-gateway` in the cluster.",
    )
    probes: Address | None = Field(
        default=None,
        description="Where the engine reaches the gateways' port of probes. Default: the address of the Service "
        "`serinus-gateway-probes` in the cluster.",
    )

    @model_validator(mode="after")
    def _certified(self) -> GatewaysSection:
        if self.client_certificates and self.tls_secret is None:
            raise expected("`tls_secret` beside `client_certificates`")
        return self


class CertificateSection(Section):
    """A certificate for collectors, instead of one that Serinus makes. Files in PEM."""

    chain: File = Field(description="The certificate, followed by its chain.")
    key: File = Field(description="Its private key, not encrypted.")
    authority: File = Field(description="The certificate of the authority that has signed it.")


class CollectorsSection(Section):
    """Where pods send their prediction records."""

    listen: Listening = Field(description="Where this collector listens, such as `0.0.0.0:7443`.")
    addresses: tuple[Address, ...] = Field(
        min_length=1, description="Where pods reach the collectors. They are tried in turn."
    )
    name: str = Field(
        default="serinus-collector",
        pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$",
        description="The name in their certificates, which pods check.",
    )
    certificate: CertificateSection | None = Field(
        default=None, description="Default: Serinus makes a certificate, which it keeps in the home."
    )


class ControlSection(Section):
    """Several control planes, of which one decides."""

    store: File = Field(
        description="A file with the URL of the PostgreSQL database that they share, such as "
        "`postgresql://serinus:PASSWORD@db.example/serinus`."
    )
    namespace: Namespace | None = Field(
        default=None,
        description="The namespace of the Lease `serinus-control`, by which one of them decides. Default: that of "
        "gateways.",
    )


class ArgoCdSection(Section):
    """The Argo CD that applies releases from the fleet repository."""

    cluster: str = Field(
        pattern=r"^[a-z]([a-z0-9-]{0,40}[a-z0-9])?$",
        description="The folder of this cluster below `rendered`, and a part of the names in Argo CD.",
    )
    repository: str | None = Field(
        default=None,
        min_length=1,
        description="Address of the fleet repository as Argo CD reads it, with its own credentials. Default: `remote`.",
    )
    namespace: Namespace = Field(default="argocd", description="The namespace of Argo CD.")
    server: str = Field(
        default="https://kubernetes.default.svc", description="The API server of the cluster, as Argo CD reaches it."
    )


class FleetSection(Section):
    """The Git server that has the fleet repository."""

    remote: Annotated[str, AfterValidator(without_password)] = Field(
        min_length=1,
        description="Address of the repository, without a password. Others may push to it as well.",
    )
    branch: str = Field(default="main", description="The branch that says what runs.")
    credentials: File | None = Field(
        default=None,
        description="A file in the format of git-credential-store, for `https`. SSH uses what the user has.",
    )
    reviewed: bool = Field(
        default=False,
        description="The server lets nobody push to the branch without a review, so that a merge is an approval.",
    )
    argo_cd: ArgoCdSection | None = Field(
        default=None, description="Default: Serinus applies the objects of releases by the API."
    )


class ClusterSettings(Section):
    """The settings of a cluster."""

    kubeconfig: File | None = Field(
        default=None, description="How the API server is reached. Default: by the service account of the pod."
    )
    context: str | None = Field(default=None, description="The context of the kubeconfig. Default: its current one.")
    namespace: Namespace = Field(description="The namespace of releases. It must exist.")
    control_planes: tuple[Network, ...] = Field(
        default=(),
        description="Networks from which the engine reaches releases and probes, where it runs outside the cluster.",
    )
    images: ImagesSection
    releases: ReleasesSection = ReleasesSection()
    trials: TrialsSection = TrialsSection()
    gateways: GatewaysSection = GatewaysSection()
    collectors: CollectorsSection
    control: ControlSection | None = Field(
        default=None,
        description="Several control planes. Default: this one decides alone, and its store is in its home.",
    )
    fleet: FleetSection | None = Field(
        default=None, description="Default: the fleet repository is in the home alone, and Argo CD is not used."
    )

    @model_validator(mode="after")
    def _one_certificate(self) -> ClusterSettings:
        if self.control is not None and self.collectors.certificate is None:
            raise expected("`collectors.certificate` beside `control`: each home would make one of its own")
        return self

    @property
    def gateway_namespace(self) -> str:
        """The namespace of gateways."""
        return self.gateways.namespace or self.namespace

    @property
    def place(self) -> Place:
        """Where images are pushed to, and what they are built on."""
        images = self.images
        return Place(Reference.parse(images.repository), Reference.parse(images.base), images.platforms)

    def collectors_by(self, authority: str) -> Collectors:
        """Returns the collectors, whose certificates `authority` has signed (PEM)."""
        return Collectors(self.collectors.addresses, authority, self.collectors.name)

    @property
    def jobs(self) -> JobSettings:
        """What the Jobs get in which models are examined."""
        trials = self.trials
        return JobSettings(
            namespace=self.namespace,
            processors=trials.processors,
            requested_share=self.releases.sizing.requested_share,
            memory_bytes=trials.memory,
            scratch_bytes=trials.scratch,
            seconds=trials.answer.total_seconds(),
            start_seconds=_seconds(trials.start),
            pull_secrets=self.images.pull_secrets,
            confinement=self.releases.confinement,
        )

    def manifests_by(self, authority: str) -> Settings:
        """Returns what the manifests of all releases have in common. `authority` is that of the collectors (PEM)."""
        replicas, sizing, timing = self.releases.replicas, self.releases.sizing, self.releases.timing
        return Settings(
            namespace=self.namespace,
            gateways=self.gateway_namespace,
            replicas=Replicas(
                replicas.least,
                replicas.most,
                replicas.cpu_percent,
                _seconds(replicas.scale_down_after),
                replicas.in_flight,
            ),
            sizing=Sizing(
                workers=sizing.workers,
                worker_bytes=sizing.worker_memory,
                headroom=sizing.headroom,
                base_bytes=sizing.base_memory,
                requested_share=sizing.requested_share,
                scratch_bytes=sizing.scratch,
            ),
            timing=Timing(
                startup=_seconds(timing.startup),
                endpoints=_seconds(timing.endpoints),
                drain=_seconds(timing.drain),
                progress=_seconds(timing.progress),
            ),
            pull_secrets=self.images.pull_secrets,
            confinement=self.releases.confinement,
            collectors=self.collectors_by(authority),
            control_planes=self.control_planes,
        )


def _seconds(value: timedelta) -> int:
    return int(value.total_seconds())
