"""What is in TensorBoard's files, read record by record."""

import pathlib
import struct

from tensorboardX.proto import event_pb2


def values(folder: pathlib.Path) -> list:
  """(step, value) of an event file: records of a length, its checksum, an event, its checksum."""
  (path,) = folder.glob("events.out.tfevents.*")
  content, found = path.read_bytes(), []
  while content:
    (length,) = struct.unpack("<Q", content[:8])
    event = event_pb2.Event.FromString(content[12 : 12 + length])
    found += [(event.step, value) for value in event.summary.value]
    content = content[16 + length :]
  return found


def scalars(folder: pathlib.Path) -> list[tuple[str, float, int]]:
  """(tag, value, step)."""
  return [(v.tag, v.simple_value, step) for step, v in values(folder) if v.HasField("simple_value")]


def images(folder: pathlib.Path) -> dict[str, bytes]:
  """{tag: file}."""
  return {v.tag: v.image.encoded_image_string for _, v in values(folder) if v.HasField("image")}
