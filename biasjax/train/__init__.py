"""Training and fine-tuning under interventions."""
