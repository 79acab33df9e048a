"""PyTorch checkpoints to Flax ones, in the repository: the code is in biasjax/convert/."""
