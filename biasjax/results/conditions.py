"""Benchmarks of which each image is there many times, under an id for each condition."""

import pandas as pd

# Kinds of labels whose ids are "<corruption>/<severity>/<image>". Decisions about one image move together.
IN_IDS = ("imagenet_c", "imagenet_cbar", "laion_c")


def split(ids: pd.Series) -> tuple[pd.Series, pd.Series]:
  """(condition, image) of such ids, str each: "<corruption>_<severity>", and what follows."""
  parts = ids.str.split("/", n=2)
  return parts.str[0] + "_" + parts.str[1], parts.str[2]
