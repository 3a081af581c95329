"""Who is told of what has happened, after it is stored: the one way by which events leave the engine.

A subscriber has a name and `told(event)`. `Delivery` tells it every event once or more, in the order in which they were
stored, and remembers in the store how far it is. Another one is added in `wiring/control.py`.
"""

from serinus.engine.subscribers.delivery import Delivery, Subscriber
from serinus.engine.subscribers.registry_tags import RegistryTags

__all__ = ["Delivery", "RegistryTags", "Subscriber"]
