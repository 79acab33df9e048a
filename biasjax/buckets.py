"""Paths in buckets (gs://, s3://): which they are, and whether they can be reached from here."""

import os

from etils import epath

from biasjax.errors import BiasjaxError


def named(path: str | os.PathLike) -> bool:
  """Whether a path is one of a bucket."""
  return "://" in os.fspath(path)


def exists(path: epath.Path) -> bool:
  """Whether something is there.

  Raises:
    BiasjaxError: that cannot be told of a bucket: what talks to it is not installed, or it does not answer.
  """
  if not named(path):
    return path.exists()
  try:
    return path.exists()
  # fsspec, the clients of the clouds and the network raise what they like.
  except Exception as error:
    said = " ".join(str(error).split()) or type(error).__name__
    raise BiasjaxError(
      f"{os.fspath(path)} cannot be reached ({said}): a bucket needs its client, gcsfs for gs:// or s3fs for "
      "s3://, and credentials; or name a folder on a disk"
    ) from error
