"""What stands in the way of reading a folder is said, and never makes a dataset smaller unsaid."""

import contextlib
import io
import os
import pathlib
import shutil
import tarfile
import tempfile

import pytest

from biasjax.data import archives, files, opening, sources
from biasjax.errors import BiasjaxError
from made_images import class_folder, encoded, pixels

TENCH, GOLDFISH = "n01440764", "n01443537"


def dangling_annex(root: pathlib.Path) -> None:
  (root / TENCH / "b.JPEG").symlink_to("../../.git/annex/objects/b.JPEG")


def dangling_dvc(root: pathlib.Path) -> None:
  (root / TENCH / "b.JPEG").symlink_to("/cache/.dvc/cache/files/md5/aa/bb")


def dangling_class(root: pathlib.Path) -> None:
  (root / "n15075141").symlink_to("/mnt/not_mounted/n15075141")


def circle(root: pathlib.Path) -> None:
  (root / TENCH / "b.JPEG").symlink_to("b.JPEG")


def pipe(root: pathlib.Path) -> None:
  os.mkfifo(root / TENCH / "b.JPEG")  # opening it would wait for ever


def not_utf8(root: pathlib.Path) -> None:
  pathlib.Path(os.fsdecode(os.fsencode(root / TENCH) + b"/caf\xe9.JPEG")).write_bytes(b"x")


@pytest.mark.parametrize(
  ("spoil", "said"),
  [
    (dangling_annex, r"b\.JPEG \(a link to .*, which is not there: git annex get fetches it\)"),
    (dangling_dvc, r"b\.JPEG \(a link to .*, which is not there: dvc pull fetches it\)"),
    (dangling_class, r"n15075141 \(a link to /mnt/not_mounted/n15075141, which is not there\)"),
    (circle, r"b\.JPEG \(a link to b\.JPEG, which is not there\)"),
    (pipe, r"b\.JPEG \(no file that could be read at any place\)"),
    (not_utf8, r"caf\?\.JPEG \(its name is no UTF-8: rename it\)"),
  ],
)
def test_what_cannot_be_read_is_refused_and_left_out_if_allowed(tmp_path, spoil, said):
  root = class_folder(tmp_path / "val", {TENCH: 2, GOLDFISH: 1})
  spoil(root)
  with pytest.raises(BiasjaxError, match=f"1 of 4 files cannot be read, e.g. .*{said}.*--allow_incomplete"):
    opening.open_dataset(f"folder:{root}")
  with pytest.raises(BiasjaxError, match=f"1 file.s. cannot be read, e.g. .*{said}"):
    opening.open_dataset(f"imagenet:{root}")
  for spec in (f"folder:{root}", f"imagenet:{root}"):
    source = opening.open_dataset(spec, allow_incomplete=True)
    assert source.length == 3
    assert "cannot be read" in source.notes[0]


@contextlib.contextmanager
def somebody_else():
  """A folder of somebody who may not read everything; root may."""
  root = pathlib.Path(tempfile.mkdtemp(dir="/tmp"))
  root.chmod(0o755)
  before = os.geteuid()
  try:
    class_folder(root / "val", {TENCH: 2, GOLDFISH: 1})
    # Whatever is imported or read once has to be before: of Python's own files somebody else may read none.
    assert opening.open_dataset(f"imagenet:{root / 'val'}", allow_incomplete=True).length == 3
    yield root / "val", lambda: os.seteuid(before or 65534)
  finally:
    os.seteuid(before)
    for path in root.rglob("*"):
      path.chmod(0o755)
    shutil.rmtree(root)


def test_files_and_folders_that_may_not_be_read_are_said():
  with somebody_else() as (root, become):
    (root / TENCH / f"{TENCH}_0.JPEG").chmod(0)
    become()
    with pytest.raises(BiasjaxError, match=rf"1 of 3 files .*{TENCH}_0\.JPEG \(permission denied\)"):
      sources.folder(root)
  with somebody_else() as (root, become):
    (root / GOLDFISH).chmod(0)
    become()
    with pytest.raises(BiasjaxError, match=rf"1 of 3 .*{GOLDFISH}/ \(a folder that cannot be listed: Perm"):
      sources.folder(root)
  with somebody_else() as (root, become):
    root.chmod(0)
    become()
    with pytest.raises(BiasjaxError, match=r"cannot be listed: Permission denied"):
      sources.folder(root)
    for spec in (f"folder:{root / TENCH}", f"imagenet:{root / TENCH}", f"cue_conflict:{root / TENCH}"):
      with pytest.raises(BiasjaxError, match="cannot be read: Permission denied"):
        opening.open_dataset(spec)


def test_a_path_that_leads_nowhere_is_said(tmp_path):
  (tmp_path / "data").symlink_to("/mnt/not_mounted")
  for spec in (f"folder:{tmp_path / 'data/val'}", f"imagenet:{tmp_path / 'data'}"):
    with pytest.raises(BiasjaxError, match=r"data is a link to /mnt/not_mounted, which is not there"):
      opening.open_dataset(spec)


def test_what_dvc_has_not_fetched_is_said(tmp_path):
  (tmp_path / "val.dvc").write_text("outs:\n- path: val\n")
  for spec in (f"folder:{tmp_path}", f"imagenet:{tmp_path}", f"cue_conflict:{tmp_path}"):
    with pytest.raises(BiasjaxError, match=r"val\.dvc stands for files that dvc pull fetches"):
      opening.open_dataset(spec)


def test_links_are_followed_but_not_in_circles_and_hidden_copies_are_passed_over(tmp_path):
  root = class_folder(tmp_path / "val", {TENCH: 2})
  (root / TENCH / "above").symlink_to(root)
  (root / GOLDFISH).symlink_to(class_folder(tmp_path / "elsewhere", {GOLDFISH: 1}) / GOLDFISH)
  shutil.copytree(root / TENCH, root / ".git/annex/objects", symlinks=True)
  (root / "README").symlink_to("gone.txt")
  (root / "README").unlink()
  (root / "notes.txt").symlink_to("gone.txt")  # no image: nobody misses it
  expected = [f"{TENCH}/{TENCH}_0.JPEG", f"{TENCH}/{TENCH}_1.JPEG", f"{GOLDFISH}/{GOLDFISH}_0.JPEG"]
  found = files.walk(root)
  assert [(file.name, file.problem) for file in found] == [(name, "") for name in expected]
  assert [file.read() for file in found] == [(root / name).read_bytes() for name in expected]


def test_an_archive_that_was_not_fetched_is_called_so(tmp_path):
  (tmp_path / "val.tar").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d\nsize 9\n")
  with pytest.raises(BiasjaxError, match=r"val\.tar is a pointer to a file that git lfs pull fetches"):
    opening.open_dataset(f"imagenet:{tmp_path / 'val.tar'}")


def test_links_within_a_tar_are_followed_and_those_out_of_it_are_said(tmp_path):
  content = encoded(pixels(9, 9))
  with tarfile.open(tmp_path / "val.tar", "w") as archive:
    member = tarfile.TarInfo(f"val/{TENCH}/a.JPEG")
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))
    for name, kind, target in (
      ("hard", tarfile.LNKTYPE, f"val/{TENCH}/a.JPEG"),
      ("soft", tarfile.SYMTYPE, "a.JPEG"),
      ("chain", tarfile.SYMTYPE, f"../{TENCH}/soft.JPEG"),
      ("gone", tarfile.SYMTYPE, "../../.git/annex/b.JPEG"),
    ):
      member = tarfile.TarInfo(f"val/{TENCH}/{name}.JPEG")
      member.type, member.linkname = kind, target
      archive.addfile(member)
  with pytest.raises(
    BiasjaxError, match=r"1 file.s. cannot be read, e.g. .*gone\.JPEG \(a link to .*not in the"
  ):
    opening.open_dataset(f"imagenet:{tmp_path / 'val.tar'}")
  source = opening.open_dataset(f"imagenet:{tmp_path / 'val.tar'}", allow_incomplete=True)
  read = {example.example_id: example.encoded for example in map(source.read, range(source.length))}
  assert read == {f"{TENCH}/{name}.JPEG": content for name in ("a", "hard", "soft", "chain")}


@pytest.mark.parametrize("packed", ["gz", "xz", "bz2"])
def test_a_compressed_tar_is_read_by_itself_and_in_a_folder_and_a_damaged_one_is_refused(tmp_path, packed):
  root = class_folder(tmp_path / "val", {TENCH: 2, GOLDFISH: 1})
  path = tmp_path / "archives" / f"val.tar.{packed}"
  path.parent.mkdir()
  with tarfile.open(path, f"w:{packed}") as archive:
    archive.add(root, "val")
  expected = {f"val/{file.name}": file.read() for file in archives.images(root)}
  for place in (path, path.parent):
    assert {file.name: file.read() for file in archives.images(place)} == expected
  content = path.read_bytes()
  path.write_bytes(content[: len(content) // 2])
  with pytest.raises(BiasjaxError, match=rf"val\.tar\.{packed} is no archive, or is damaged \("):
    opening.open_dataset(f"imagenet:{path}")


@pytest.mark.parametrize(
  ("begins", "packed"),
  [(b"\x28\xb5\x2f\xfd", "zstd"), (b"7z\xbc\xaf\x27\x1c", "7z"), (b"Rar!\x1a\x07\x01", "rar")],
)
def test_an_archive_that_is_packed_otherwise_is_called_so(tmp_path, begins, packed):
  (tmp_path / "val.tar.x").write_bytes(begins + bytes(600))
  with pytest.raises(BiasjaxError, match=rf"val\.tar\.x is compressed \({packed}\): unpack it first"):
    opening.open_dataset(f"imagenet:{tmp_path / 'val.tar.x'}")
