"""Tables of results to statistics. Knows neither JAX nor images."""
