"""The basis of all other packages: errors, configuration, requests and responses, the wire format of Protocol Buffers,
and optional libraries. It imports no other package of the runtime."""
