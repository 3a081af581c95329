"""Where records come in: the socket that workers write to, and the file that Envoy writes."""
