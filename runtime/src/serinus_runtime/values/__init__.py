"""What callers send and models answer, as values: rows, tensors, outputs, and conversions between them."""
