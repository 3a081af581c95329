"""The values of requests and answers: rows, tensors and outputs, and conversions between them."""
