"""What every other package may use: errors, configuration, requests and responses, the wire format of Protocol Buffers,
and the libraries that may be there. Imports nothing else of the runtime."""
