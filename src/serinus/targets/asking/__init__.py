"""Asking releases for predictions, as the control plane does on every target.

scorer        what is asked, and how answers are read
http_calls    one request for each connection
grpc_calls    messages of the Open Inference Protocol
"""

from serinus.targets.asking.scorer import ReleaseScorer

__all__ = ["ReleaseScorer"]
