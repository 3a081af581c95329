"""The intake of records: the socket that workers write to, and the file that Envoy writes."""
