"""HTTP/1.1: the parser, connections and the listening side."""
