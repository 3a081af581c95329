"""What several control planes share: the store, and the Lease that says which of them decides."""

from __future__ import annotations

import hashlib
import secrets
import socket

from serinus.backends.sql import SqlStore, url_in
from serinus.core.errors import Refused
from serinus.core.home import Home
from serinus.core.keys import installation
from serinus.core.ports import Terms
from serinus.targets.kubernetes.cluster import Cluster
from serinus.targets.kubernetes.leading import LeaseLeadership
from serinus.targets.kubernetes.settings import ClusterSettings, ControlSection

_LEASE_SECONDS = 4.0
"""How long an answer about the Lease may take. A renewal is tried more than once before the term is over."""
_HOST_CHARACTERS = 40
_INSTALLATION = "installation"
"""The setting in the store by which a home with another secret is found."""


def open_store(home: Home, control: ControlSection) -> SqlStore:
    """Opens the shared database. Raises InvalidInput where the file does not hold its URL, which is not quoted because
    it may hold a password; Refused where the home has another secret than those that have used the database before; and
    what `SqlStore` raises."""
    store = SqlStore(url_in(control.store))
    mine, theirs = installation(home.secret.read_text()), store.setting(_INSTALLATION)
    if theirs is None:
        store.set_setting(_INSTALLATION, mine)
    elif theirs != mine:
        store.close()
        raise Refused(
            f"{home.secret} is not the secret of the control planes that share this database: releases and gateways "
            "would not take what this one sends.",
            hint="Copy the file `secret` from one of their homes.",
        )
    return store


def build_leadership(home: Home, chosen: ClusterSettings, control: ControlSection, terms: Terms) -> LeaseLeadership:
    """Returns the leadership of this control plane, which does not decide yet. Asks nothing."""
    client = Cluster.connected(chosen.kubeconfig, context=chosen.context, seconds=_LEASE_SECONDS)
    identity = f"{name_of(home)}_{secrets.token_hex(4)}"
    return LeaseLeadership(client, control.namespace or chosen.gateway_namespace, identity, terms)


def name_of(home: Home) -> str:
    """Returns the name of the control plane of this home: that of the machine or pod where there is one home."""
    host = socket.gethostname()[:_HOST_CHARACTERS]
    return f"{host}.{hashlib.sha256(str(home.path).encode()).hexdigest()[:6]}"
