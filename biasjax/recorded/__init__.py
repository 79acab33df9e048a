"""Decisions that people and networks have recorded elsewhere."""
