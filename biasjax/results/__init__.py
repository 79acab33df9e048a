"""Observations on disk, and the tables that follow from them; knows neither JAX nor probes."""
