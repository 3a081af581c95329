"""A home in one file, taken while it runs, and back again in another place.

contents   what of a home is taken, and in which order
archive    the file: whole or not there, and checked when it is read
sqlite     a database as it is at one moment
moving     paths of the home before become those of the new one
saving     a home into a file
restoring  a file into a home; its environments are built again from their locks
"""

from serinus.wiring.backup.restoring import build_environments, restore
from serinus.wiring.backup.saving import Saved, save

__all__ = ["Saved", "build_environments", "restore", "save"]
