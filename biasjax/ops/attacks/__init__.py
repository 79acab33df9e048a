"""Adversarial attacks as pure functions on batches of images: PGD and the parts of AutoAttack.

Whatever is random belongs to an example, so that a result does not depend on who else is in the batch.
"""
