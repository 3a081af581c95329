"""Backup of a home to one file while it runs, and restore elsewhere.

contents   the files of a home that are saved, and their order
archive    the file, which is complete or missing, and is checked when it is read
sqlite     a consistent copy of a database
moving     replacement of the paths of the old home
saving     a home into a file
restoring  a file into a home, whose environments are built again from their locks
"""

from serinus.wiring.backup.restoring import build_environments, restore
from serinus.wiring.backup.saving import Saved, save

__all__ = ["Saved", "build_environments", "restore", "save"]
