"""Needs a module that nobody declared."""

import a_library_that_nobody_declared  # noqa: F401
