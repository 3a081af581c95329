"""What the HTTP servers of the control plane have in common."""

from serinus.doors.connections import Limits, limited

__all__ = ["Limits", "limited"]
