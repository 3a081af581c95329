"""The targets: places where releases run."""
