"""What is written into a template for a value that is not known yet."""

from __future__ import annotations

from typing import Any

import pytest

from serinus.targets.kubernetes.control.symbols import Symbols, choice, digest, document, text, usual, whole
from serinus.targets.kubernetes.manifests.rendering import rendered

HEAD = {"apiVersion": "v1", "kind": "Test", "metadata": "none"}


def template(make: Any) -> dict[str, str]:
    """Key -> the line of the template, of what `make` makes of symbols."""
    symbols = Symbols()
    made = make(symbols.values, symbols.namespace)
    lines = symbols.template(rendered([HEAD | made])).splitlines()
    return {key: value for key, _, value in (line.partition(": ") for line in lines) if key in made}


def test_a_whole_value_keeps_its_type() -> None:
    found = template(
        lambda values, _: {"kind": whole(values.replicas), "metadata": whole(values.config.cluster.gateways)}
    )
    assert found == {
        "kind": "{{ toJson .Values.replicas }}",
        "metadata": "{{ toJson ((.Values.config).cluster).gateways }}",
    }


def test_a_value_may_be_a_part_of_a_text() -> None:
    found = template(lambda values, namespace: {"kind": f"serinus.{namespace}", "data": f"{values.service}/x"})
    assert found == {"kind": "serinus.{{ .Release.Namespace }}", "data": "{{ .Values.service }}/x"}


def test_values_have_the_names_of_the_chart() -> None:
    found = template(
        lambda values, _: {"kind": whole(values.pull_secrets), "data": whole(values.storage.storage_class)}
    )
    assert found == {"kind": "{{ toJson .Values.pullSecrets }}", "data": "{{ toJson (.Values.storage).class }}"}


@pytest.mark.parametrize(
    ("make", "expression"),
    [
        (
            lambda values: choice(values.config.insecure, "HTTP", "HTTPS"),
            'ternary "HTTP" "HTTPS" (.Values.config).insecure',
        ),
        (lambda values: usual(values.service, "ClusterIP"), 'default "ClusterIP" .Values.service'),
        (lambda values: text(values.replicas), "toString .Values.replicas"),
        (lambda values: document(values.config), "toYaml .Values.config"),
        (lambda values: digest(values.config), "sha256sum (toYaml .Values.config)"),
    ],
)
def test_what_may_be_done_with_a_value_is_written_down(make: Any, expression: str) -> None:
    assert template(lambda values, _: {"kind": make(values)}) == {"kind": f"{{{{ toJson ({expression}) }}}}"}


@pytest.mark.parametrize(
    "use",
    [
        lambda value: 1 if value else 2,
        lambda value: value == "ClusterIP",
        lambda value: value + 1,
        lambda value: [*value],
        lambda value: rendered([HEAD | {"data": value}]),
    ],
    ids=["asked", "compared", "computed", "gone through", "put in by itself"],
)
def test_anything_else_fails_when_the_chart_is_made(use: Any) -> None:
    with pytest.raises(Exception, match=r"template|unsupported|must be an iterable|represent"):
        use(Symbols().values.service)
