"""The pass over images: who computes what, with which programs, and how fast."""
