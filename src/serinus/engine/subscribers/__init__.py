"""Subscribers, which are told of events after these are stored. Events leave the engine in no other way.

A subscriber has a name and `told(event)`. `Delivery` tells it every event at least once, in order, and stores its
position. `wiring/control.py` lists the subscribers.
"""

from serinus.engine.subscribers.delivery import Delivery, Subscriber
from serinus.engine.subscribers.registry_tags import RegistryTags

__all__ = ["Delivery", "RegistryTags", "Subscriber"]
