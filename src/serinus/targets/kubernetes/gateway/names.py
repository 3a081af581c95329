"""Names that the manifests, the control plane and the gateways must agree on."""

from __future__ import annotations

NAME = "serinus-gateway"
"""Of the Deployment, its Service, its ServiceAccount and what belongs to them."""
SECRET_NAME = "serinus-routing"
"""Of the Secret with what is published."""
ROLE_LABEL, ROLE = "serinus/role", "gateway"
"""Of pods of gateways and of their reports. The policies of releases let pods with it in."""
