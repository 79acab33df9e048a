"""PyTorch checkpoints to Flax ones, without torch: python -m convert --help."""
