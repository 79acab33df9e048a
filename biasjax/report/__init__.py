"""Figures and the page of a study. Knows only tables."""
