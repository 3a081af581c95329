"""The assembly of the application. Only this package knows which target and backends are used."""
