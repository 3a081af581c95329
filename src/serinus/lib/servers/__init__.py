"""What the HTTP servers of the control plane have in common."""

from serinus.lib.servers.connections import Limits, limited
from serinus.lib.servers.peers import checking_peers, may_connect

__all__ = ["Limits", "checking_peers", "limited", "may_connect"]
