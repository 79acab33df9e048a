"""Writers of PyTorch's older formats, after its loader: no PyTorch of today writes them."""

import io
import pickle
import struct
import tarfile

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


def tar(path, tensors):
  """A tar file of PyTorch 0.1 with a dict of tensors, which may be views of one another's storage."""
  storages = {t.untyped_storage().data_ptr(): t for t in tensors.values()}
  files = {"storages": io.BytesIO(), "tensors": io.BytesIO(), "pickle": io.BytesIO()}
  pickle.dump(len(storages), files["storages"], protocol=2)
  for key, tensor in storages.items():
    whole = torch.tensor([], dtype=tensor.dtype).set_(tensor.untyped_storage())
    kind = {
      torch.float32: torch.FloatStorage,
      torch.float64: torch.DoubleStorage,
      torch.int64: torch.LongStorage,
    }
    pickle.dump((key, "cpu", kind[tensor.dtype]), files["storages"], protocol=2)
    files["storages"].write(struct.pack("<q", whole.numel()) + whole.numpy().tobytes())
  pickle.dump([], files["storages"], protocol=2)
  pickle.dump(len(tensors), files["tensors"], protocol=2)
  for i, tensor in enumerate(tensors.values()):
    key = tensor.untyped_storage().data_ptr()
    pickle.dump((1000 + i, key, torch.FloatTensor), files["tensors"], protocol=2)
    files["tensors"].write(struct.pack("<ii", tensor.ndim, 0))
    files["tensors"].write(struct.pack(f"<{2 * tensor.ndim}q", *tensor.shape, *tensor.stride()))
    files["tensors"].write(struct.pack("<q", tensor.storage_offset()))
  keys = {id(tensor): 1000 + i for i, tensor in enumerate(tensors.values())}
  Pickler(files["pickle"], lambda value: keys.get(id(value))).dump(dict(tensors))
  with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
    for name, content in files.items():
      info = tarfile.TarInfo(name)
      info.size = content.tell()
      content.seek(0)
      archive.addfile(info, content)
