"""What every other package may use: errors, configuration, requests and responses, and the libraries that may be there.
Imports nothing else of the runtime."""
