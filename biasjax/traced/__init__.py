"""Networks that were traced once with PyTorch and are data since: read, checked and run in JAX alone."""
