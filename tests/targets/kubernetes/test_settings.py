"""The settings of a cluster: what is read, what is refused, and that the page about Kubernetes lists every field."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from serinus.core.errors import InvalidInput
from serinus.spec.fields import Described, described
from serinus.spec.writing import as_yaml
from serinus.targets.kubernetes.jobs import JobSettings
from serinus.targets.kubernetes.manifests import Settings
from serinus.targets.kubernetes.settings import ClusterSettings
from serinus.targets.kubernetes.settings_file import load
from serinus.targets.kubernetes.settings_values import address_parts

DOCS = Path(__file__).parents[3] / "docs" / "kubernetes.md"
BASE = f"registry.example/serinus/base@sha256:{'0' * 64}"
LEAST = f"""\
namespace: fraud
images:
  repository: registry.example/serinus
  base: {BASE}
collectors:
  listen: 0.0.0.0:7443
  addresses: ["192.0.2.10:7443"]
"""
Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str) -> Path:
        (tmp_path / "cluster.yaml").write_text(text)
        return tmp_path / "cluster.yaml"

    return write


def refused(file: Path) -> list[str]:
    with pytest.raises(InvalidInput) as raised:
        load(file)
    return [line.removeprefix(f"{file}:") for line in raised.value.message.splitlines()]


def test_what_is_not_given_is_as_the_manifests_have_it_by_themselves(write: Write) -> None:
    found = load(write(LEAST))
    usual = Settings(namespace="fraud", gateways="fraud", collectors=found.collectors_by("authority"))
    assert found.manifests_by("authority") == usual
    assert found.kubeconfig is None
    assert found.gateway_namespace == "fraud"
    assert str(found.place.base) == BASE


def test_what_is_given_reaches_the_manifests(write: Write) -> None:
    more = """\
gateways: {namespace: edge}
releases:
  replicas: {least: 1, most: 3, cpu_percent: 50, scale_down_after: 1m, in_flight: 8}
  sizing: {workers: 2, worker_memory: 1GiB, headroom: 2, base_memory: 200MiB, requested_share: 1, scratch: 1GiB}
  timing: {startup: 2m, endpoints: 1s, drain: 2s, progress: 3m}
  confinement: required
"""
    made = load(write(LEAST + more)).manifests_by("authority")
    assert (made.namespace, made.gateways, made.confinement) == ("fraud", "edge", "required")
    assert (made.replicas.least, made.replicas.most, made.replicas.cpu_percent) == (1, 3, 50)
    assert (made.replicas.scale_down_after, made.replicas.in_flight) == (60, 8)
    assert (made.sizing.workers, made.sizing.worker_bytes, made.sizing.base_bytes) == (2, 2**30, 200 * 2**20)
    assert (made.sizing.headroom, made.sizing.requested_share, made.sizing.scratch_bytes) == (2, 1, 2**30)
    assert (made.timing.startup, made.timing.endpoints, made.timing.drain, made.timing.progress) == (120, 1, 2, 180)
    assert made.collectors is not None
    assert (made.collectors.addresses, made.collectors.authority) == (("192.0.2.10:7443",), "authority")


def test_what_is_given_reaches_the_jobs(write: Write) -> None:
    assert load(write(LEAST)).jobs == JobSettings("fraud")
    more = """\
trials: {processors: 2, memory: 3GiB, scratch: 2GiB, answer: 5m, start: 1m}
releases: {sizing: {requested_share: 1}, confinement: required}
"""
    secrets = LEAST.replace("images:", "images:\n  pull_secrets: [registry]")
    assert load(write(secrets + more)).jobs == JobSettings(
        "fraud",
        processors=2,
        requested_share=1,
        memory_bytes=3 * 2**30,
        scratch_bytes=2 * 2**30,
        seconds=300,
        start_seconds=60,
        pull_secrets=("registry",),
        confinement="required",
    )


def test_relative_paths_are_relative_to_the_document(write: Write) -> None:
    file = write(f"{LEAST}kubeconfig: keys/config\n")
    assert load(file).kubeconfig == file.parent / "keys" / "config"


def test_all_mistakes_are_named_at_once_with_line_and_field(write: Write) -> None:
    text = LEAST.replace("namespace: fraud", "namespace: Fraud").replace("listen: 0.0.0.0:7443", "listen: 7443")
    assert refused(write(f"{text}releases: {{sizing: {{scratch: 5Gi}}}}\ngateway: {{}}\n")) == [
        "1: namespace: expected the name of a namespace, in small letters, digits and '-'",
        "6: collectors.listen: expected a valid string",
        "8: releases.sizing.scratch: expected a size such as 512KiB, 1MiB or 2GiB",
        "9: gateway: is not a field; did you mean 'gateways'?",
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("collector: 1", "8: collector: is not a field; did you mean 'collectors'?"),
        ("xyz: 1", "8: xyz: is not a field; expected kubeconfig, context, namespace"),
        ("gateways: {address: 1.2.3.4}", "8: gateways.address: expected host:port, such as 192.0.2.10:7443"),
        ("gateways: {address: '::1:80'}", "8: gateways.address: expected host:port"),
        ("gateways: {client_certificates: true}", "8: gateways: expected `tls_secret` beside `client_certificates`"),
        ("gateways: {replicas: true}", "8: gateways.replicas: expected a valid integer"),
        ("releases: {replicas: {least: 3, most: 2}}", "8: releases.replicas: expected `least` to be at most `most`"),
        ("releases: {timing: {startup: 10m}}", "8: releases.timing: expected `startup` to be shorter than `progress`"),
        ("releases: {timing: {drain: 1500ms}}", "8: releases.timing.drain: expected a duration of whole seconds"),
        ("control_planes: [192.0.2.1/24]", "8: control_planes[0]: expected a network as CIDR, such as 192.0.2.0/24"),
        ("collectors: {listen: localhost:1, addresses: ['a:1']}", "8: collectors.listen: expected an IP address and"),
        ("kubeconfig: 5", "8: kubeconfig: expected a path"),
        ("fleet: {remote: 'https://a:b@git.example/f'}", "8: fleet.remote: expected an address without a password"),
        ("fleet: {remote: git://g/f, argo_cd: {cluster: East}}", "8: fleet.argo_cd.cluster: "),
    ],
)
def test_a_mistake_is_said_in_words(write: Write, line: str, said: str) -> None:
    least = LEAST[: LEAST.index("collectors:")] + "\n\n\n" if line.startswith("collectors:") else LEAST
    [found] = refused(write(f"{least}{line}\n"))
    assert found.startswith(said)


def test_a_base_image_without_a_digest_is_refused(write: Write) -> None:
    [found] = refused(write(LEAST.replace(BASE, "registry.example/serinus/base:1")))
    assert found.startswith("4: images.base: expected an image reference with a digest:")


def test_a_needed_field_that_is_missing_is_named(write: Write) -> None:
    assert refused(write(LEAST.replace("namespace: fraud\n", ""))) == ["1: namespace: is missing"]
    assert refused(write("[]")) == ["1: expected a mapping with `namespace`, `images` and `collectors`"]


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"nowhere\.yaml, cannot be read: No such file"):
        load(tmp_path / "nowhere.yaml")


def test_several_control_planes_need_one_certificate_for_collectors(write: Write) -> None:
    assert refused(write(f"{LEAST}control: {{store: url}}\n")) == [
        "1: expected `collectors.certificate` beside `control`: each home would make one of its own"
    ]


def test_the_host_and_the_port_of_an_address() -> None:
    assert address_parts("0.0.0.0:7443") == ("0.0.0.0", 7443)
    assert address_parts("[::1]:80") == ("::1", 80)


def test_the_page_about_kubernetes_lists_every_field() -> None:
    page = DOCS.read_text()
    assert [row for row in rows() if row not in page] == []


def rows() -> Iterator[str]:
    """The rows of the table of fields, which the page must have. `python tests/targets/kubernetes/test_settings.py`
    prints them."""
    for field in described(ClusterSettings):
        if field.section is None:
            yield f"| `{field.path}` | {field.kind.name} | {_default(field)} | {field.info.description} |"


def _default(field: Described) -> str:
    if field.info.is_required():
        return "needed"
    section: type = ClusterSettings
    *around, name = field.path.split(".")
    for part in around:
        section = next(one.section for one in described(section) if one.path == part and one.section is not None)
    value = section.model_construct().model_dump(mode="json")[name]  # type: ignore[attr-defined]
    return "" if value in (None, []) else f"`{as_yaml(value, flow=True)}`"


if __name__ == "__main__":
    print("\n".join(rows()))
