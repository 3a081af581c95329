"""What MLflow registers under some name is taken by `init` and by `deploy` alike, or by neither."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_model_name
from small_fleet import Installation

from serinus.core.errors import InvalidInput
from serinus.core.names import is_model_name
from serinus.core.people import Access, Actor

ANNA = Actor("anna", Access.DEPLOY)
NAMES = (
    st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", fullmatch=True)
    | st.text("aZ09._-~ /:#%?ä\n", min_size=1, max_size=12)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="@"), min_size=1, max_size=140)
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(NAMES)
def test_init_writes_nothing_that_deploy_refuses_whatever_the_name(installation: Installation, name: str) -> None:
    installation.registry.versions[name] = ["1"]
    if not is_model_name(name):
        with pytest.raises(InvalidInput) as by_init:
            installation.desk.initial_spec(name)
        with pytest.raises(InvalidInput) as by_deploy:
            installation.desk.deploy(ref=f"{name}@1", spec=None, actor=ANNA)
        assert str(by_init.value) == str(by_deploy.value)
        return
    _validate_model_name(name)  # MLflow registers it
    assert quote(name, safe="") == name  # addresses hold it as it is
    text = installation.desk.initial_spec(name)
    begun = installation.desk.deploy(ref=f"{name}@1", spec=text, actor=ANNA, supersede=True)
    assert begun.rollout is not None
