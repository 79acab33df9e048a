"""A path in a bucket is reached, or refused in one line that says why."""

import fsspec
import pytest
from etils import epath
from fsspec.implementations.memory import MemoryFileSystem

from biasjax import buckets
from biasjax.data import prepared
from biasjax.errors import BiasjaxError
from biasjax.results.store import Store
from in_process import run


@pytest.fixture
def without_client(monkeypatch):
  """As where fsspec has no client of Google's storage."""

  def refuse(*_, **__):
    raise ImportError("Please install gcsfs to access Google Storage")

  monkeypatch.setattr(fsspec, "filesystem", refuse)


def test_a_bucket_that_cannot_be_reached_is_one_line(without_client):
  message = (
    r"gs://bucket/out/run\.json cannot be reached \(Please install gcsfs .*\): a bucket needs its client"
  )
  with pytest.raises(BiasjaxError, match=message):
    Store("gs://bucket/out", create=True)
  ended = run("--summarise", "--workdir=gs://bucket/out")
  assert ended.returncode == 1
  assert "gcsfs" in ended.stderr


def test_a_network_in_a_bucket_that_cannot_be_reached_is_one_line(without_client):
  from biasjax.convert import resolving

  with pytest.raises(BiasjaxError, match="gs://bucket/net cannot be reached"):
    resolving.not_fetched(["gs://bucket/net"])


@pytest.mark.parametrize(
  "flags",
  [
    ("--config=configs/train.py", "--dataset=classes:x", "--workdir=gs://bucket/out"),
    ("--config=configs/sweep.py", "--workdir=gs://bucket/out"),
    ("--models=x", "--dataset=imagenet", "--data_dir=gs://bucket/tfds"),
    ("--prepare=imagenet", "--manual_dir=x", "--data_dir=gs://bucket/tfds"),
  ],
)
def test_what_needs_a_disk_refuses_a_bucket(flags):
  ended = run(*flags)
  assert ended.returncode == 1
  assert "this has to be a folder on a disk" in ended.stderr


def test_a_prepared_dataset_in_a_bucket_is_refused():
  with pytest.raises(BiasjaxError, match="array_record is read from disks only"):
    prepared.opened("gs://bucket/imagenet/1.0.0", None)


def test_what_is_in_a_bucket_is_found(monkeypatch):
  bucket = MemoryFileSystem()
  bucket.pipe("/bucket/out/run.json", b"{}")
  monkeypatch.setattr(fsspec, "filesystem", lambda *_, **__: _Rooted(bucket))
  assert buckets.exists(epath.Path("gs://bucket/out/run.json"))
  assert not buckets.exists(epath.Path("gs://bucket/out/else.json"))


class _Rooted:
  """Paths as epath gives them to a client of a bucket."""

  def __init__(self, files):
    self._files = files

  def exists(self, path) -> bool:
    return self._files.exists("/" + path.removeprefix("gs://"))
