"""A writer of what PyTorch's older format could hold, after its loader: no PyTorch of today writes it."""

import pickle
import struct

import torch


class Pickler(pickle.Pickler):
  """A pickler whose persistent ids a function gives."""

  def __init__(self, file, identify):
    super().__init__(file, protocol=2)
    self.identify = identify

  def persistent_id(self, value):
    return self.identify(value)


class View:
  """A part of a storage that the legacy format treats as a storage of its own."""

  def __init__(self, key, tensor, offset, count):
    self.key, self.tensor, self.offset, self.count = key, tensor, offset, count

  def __reduce__(self):
    arguments = (_StorageOf(self), 0, (self.count,), (1,), False, {})
    return torch._utils._rebuild_tensor_v2, arguments


class _StorageOf:
  def __init__(self, view):
    self.view = view


def legacy_with_views(path, tensor, views):
  """A legacy file of `views` of one tensor's storage: {name: (offset, count)}."""

  def identify(value):
    if isinstance(value, _StorageOf):
      v = value.view
      return ("storage", torch.FloatStorage, "root", "cpu", tensor.numel(), (v.key, v.offset, v.count))
    return None

  content = {name: View(f"view {name}", tensor, *view) for name, view in views.items()}
  with open(path, "wb") as file:
    pickle.dump(0x1950A86A20F9469CFC6C, file, protocol=2)
    pickle.dump(1001, file, protocol=2)
    system = {
      "protocol_version": 1001,
      "little_endian": True,
      "type_sizes": {"short": 2, "int": 4, "long": 4},
    }
    pickle.dump(system, file, protocol=2)
    Pickler(file, identify).dump(content)
    pickle.dump(["root"], file, protocol=2)
    file.write(struct.pack("<q", tensor.numel()))
    file.write(tensor.numpy().tobytes())
