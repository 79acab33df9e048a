"""Downloads, against a server on this machine that breaks off, refuses, lies and waits."""

import contextlib
import errno
import hashlib
import http.server
import json
import os
import pathlib
import subprocess
import sys
import threading
import urllib.parse

import pytest

import biasjax
from biasjax import convert
from biasjax.cli import converting as command
from biasjax.convert import cached, download
from biasjax.errors import BiasjaxError
from biasjax.models import zoo
from deadline import DEADLINE_S
from torch_networks import network, save

CONTENT = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.ThreadingHTTPServer):
  """Serves `files`; `script` holds what it does instead, a word for each of the next requests."""

  def __init__(self):
    super().__init__(("127.0.0.1", 0), Handler)
    self.files = {"/net.pth": CONTENT}
    self.script: list[str] = []
    self.requests: list[tuple[str, str | None]] = []
    self.etag = '"first"'
    self.slow = threading.Event()
    self.slow.set()

  def address(self, path="/net.pth"):
    return f"http://127.0.0.1:{self.server_port}{path}"


class Handler(http.server.BaseHTTPRequestHandler):
  server: Server

  def log_message(self, *_):
    pass

  def do_GET(self):
    server = self.server
    path = urllib.parse.urlsplit(self.path).path
    server.requests.append((self.path, self.headers.get("Range")))
    act = server.script.pop(0) if server.script else "serve"
    if act == "web page":
      return self.answer(200, b"<html>quota exceeded</html>", {"Content-Type": "text/html; charset=utf-8"})
    if act.isdigit():
      return self.answer(int(act), b"", {})
    if path not in server.files:
      return self.answer(404, b"", {})
    server.slow.wait(30)
    content, start = server.files[path], 0
    asked = self.headers.get("Range")
    if asked and self.headers.get("If-Range") == server.etag and act != "no ranges":
      start = int(asked.removeprefix("bytes=").rstrip("-"))
      if start >= len(content):
        return self.answer(416, b"", {})
    headers = {"ETag": server.etag}
    if start:
      headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
    body = content[start:]
    sent = body[: len(body) // 2] if act == "break off" else body
    return self.answer(206 if start else 200, sent, headers, len(body))

  def answer(self, status, body, headers, length=None):
    self.send_response(status)
    for name, value in ({"Content-Type": "application/octet-stream"} | headers).items():
      self.send_header(name, value)
    self.send_header("Content-Length", str(len(body) if length is None else length))
    self.end_headers()
    with contextlib.suppress(ConnectionError):
      self.wfile.write(body)


@pytest.fixture
def server(monkeypatch, tmp_path):
  monkeypatch.setenv("BIASJAX_CACHE", str(tmp_path / "cache"))
  monkeypatch.setattr(download, "WAIT", 0.001)
  with Server() as running:
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield running
    running.shutdown()
    thread.join()


def leftovers():
  """What is in the cache beside locks."""
  return sorted(p.name for p in (download.cache_directory() / "downloads").iterdir() if p.suffix != ".lock")


def test_file_is_fetched_once(server):
  path = download.fetch(server.address(), sha256=SHA256)
  assert path.read_bytes() == CONTENT
  assert download.fetch(server.address(), sha256=SHA256) == path
  assert len(server.requests) == 1
  assert leftovers() == [path.name]


def test_broken_connection_is_resumed_by_range(server):
  server.script = ["break off", "break off"]
  assert download.fetch(server.address(), sha256=SHA256).read_bytes() == CONTENT
  half, quarter = len(CONTENT) // 2, len(CONTENT) // 4
  assert [r for _, r in server.requests] == [None, f"bytes={half}-", f"bytes={half + quarter}-"]


def test_later_call_continues_what_an_earlier_one_left(server, monkeypatch):
  monkeypatch.setattr(download, "ATTEMPTS", 1)
  server.script = ["break off"]
  with pytest.raises(BiasjaxError, match="try again, it will be continued"):
    download.fetch(server.address(), sha256=SHA256)
  assert download.fetch(server.address(), sha256=SHA256).read_bytes() == CONTENT
  assert server.requests[-1][1] == f"bytes={len(CONTENT) // 2}-"


def test_file_that_changed_meanwhile_is_fetched_anew(server):
  server.script = ["break off", "503"]
  server.files["/net.pth"] = b"old" * 10_000
  original = Handler.do_GET

  def change_after_the_first(self):
    original(self)
    server.files["/net.pth"], server.etag = CONTENT, '"second"'

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(Handler, "do_GET", change_after_the_first)
    assert download.fetch(server.address(), sha256=SHA256).read_bytes() == CONTENT


def test_server_without_ranges_is_asked_for_the_whole(server):
  server.script = ["break off", "no ranges"]
  assert download.fetch(server.address(), sha256=SHA256).read_bytes() == CONTENT


@pytest.mark.parametrize("status", ["500", "502", "503", "429"])
def test_busy_server_is_asked_again(server, status):
  server.script = [status, status]
  assert download.fetch(server.address(), sha256=SHA256).read_bytes() == CONTENT
  assert len(server.requests) == 3


def test_server_that_stays_busy_is_given_up(server):
  server.script = ["503"] * 100
  with pytest.raises(BiasjaxError, match="cannot be fetched \\(503"):
    download.fetch(server.address(), sha256=SHA256)
  assert len(server.requests) == download.ATTEMPTS


@pytest.mark.parametrize(
  ("status", "said"), [("404", "is not there"), ("403", "is forbidden"), ("401", "a login")]
)
def test_final_answer_is_one_line_at_once(server, status, said):
  server.script = [status]
  with pytest.raises(BiasjaxError, match=f"{said}.*{status}") as raised:
    download.fetch(server.address())
  assert "\n" not in str(raised.value)
  assert len(server.requests) == 1


def test_wrong_checksum_is_thrown_away(server):
  with pytest.raises(BiasjaxError, match=f"its sha256 is {SHA256}, not {'0' * 64}"):
    download.fetch(server.address(), sha256="0" * 64)
  assert leftovers() == []


def test_quota_page_is_not_saved_as_the_file(server):
  server.script = ["web page"]
  with pytest.raises(BiasjaxError, match="sent a web page instead of the file"):
    download.fetch(server.address())
  assert leftovers() == []


def test_offline_says_so_and_asks_nobody(server):
  with pytest.raises(BiasjaxError, match="--offline"):
    download.fetch(server.address(), offline=True)
  path = download.fetch(server.address())
  assert download.fetch(server.address(), offline=True) == path
  assert len(server.requests) == 1


def test_unreachable_server_is_one_line(server, monkeypatch):
  monkeypatch.setattr(download, "ATTEMPTS", 2)
  with pytest.raises(BiasjaxError, match="cannot be fetched"):
    download.fetch("http://127.0.0.1:9/net.pth")


def test_full_disk_is_one_line_and_keeps_the_part(server, monkeypatch):
  server.script = ["break off"]
  receive = download._receive

  def full_disk(*arguments):
    if server.requests:
      raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    receive(*arguments)

  monkeypatch.setattr(download, "_receive", full_disk)
  with pytest.raises(BiasjaxError, match="the disk is full"):
    download.fetch(server.address(), sha256=SHA256)
  monkeypatch.setattr(download, "_receive", receive)
  assert download.fetch(server.address(), sha256=SHA256).read_bytes() == CONTENT
  assert server.requests[-1][1] == f"bytes={len(CONTENT) // 2}-"


PROGRAM = """
import sys
from biasjax.convert import download
print(download.fetch(sys.argv[1], sha256=sys.argv[2]))
"""


def test_two_processes_at_once_fetch_it_once(server):
  server.slow.clear()
  command_line = [sys.executable, "-c", PROGRAM, server.address(), SHA256]
  running = [subprocess.Popen(command_line, stdout=subprocess.PIPE, text=True) for _ in range(2)]
  threading.Timer(0.5, server.slow.set).start()
  said = [process.communicate(timeout=DEADLINE_S)[0].strip() for process in running]
  assert [process.returncode for process in running] == [0, 0]
  assert said[0] == said[1]
  assert pathlib.Path(said[0]).read_bytes() == CONTENT
  assert len(server.requests) == 1


def test_sources_become_addresses(monkeypatch):
  monkeypatch.delenv("HF_ENDPOINT", raising=False)
  expected = "https://huggingface.co/timm/resnet50.a1_in1k/resolve/main/model.safetensors"
  assert download.url("hf:timm/resnet50.a1_in1k/model.safetensors") == expected
  assert "id=1abc" in download.url("drive:1abc")
  assert download.url("https://a.b/c?d=1") == "https://a.b/c?d=1"
  for wrong in ("ftp://a/b", "file:///etc/passwd", "hf:timm/x", "drive:", "resnet50"):
    with pytest.raises(BiasjaxError, match="is no source"):
      download.url(wrong)
  names = {download.file_name(source) for row in zoo.ROWS for source in (row.source, row.head) if source}
  assert len(names) == len(zoo.ROWS) + 2


# From a name to a network.


@pytest.fixture
def published(torchvision, server, monkeypatch, tmp_path):
  """A zoo of one tiny network on the server."""
  save(network(torchvision, stage_sizes=(1, 1, 1, 1), width=2, classes=3).state_dict(), tmp_path / "x", "zip")
  server.files["/tiny.pth"] = (tmp_path / "x").read_bytes()
  sha256 = hashlib.sha256(server.files["/tiny.pth"]).hexdigest()
  row = zoo.Checkpoint("tiny", "baseline", "tiny", server.address("/tiny.pth"), "plain", "us", "MIT", sha256)
  monkeypatch.setattr(zoo, "ZOO", {"tiny": row})
  monkeypatch.setattr(zoo, "ROWS", (row,))
  return row


def test_name_is_fetched_converted_and_cached(published, server, capsys):
  assert command.main(["convert", "--model=tiny"]) == 0
  assert "written" in capsys.readouterr().out
  (folder,) = convert.resolve(["tiny"], offline=True)
  certificate = biasjax.load(folder).certificate
  assert certificate["model"]["source"] == server.address("/tiny.pth")
  assert certificate["model"]["licence"] == "MIT"
  assert certificate["source"]["sha256"] == published.sha256
  assert command.main(["convert", "--model=tiny"]) == 0
  assert "is converted already" in capsys.readouterr().out
  assert len(server.requests) == 1
  assert command.main(["convert", "--list"]) == 0
  assert "converted" in capsys.readouterr().out


def test_specs_stand_for_names_patterns_folders_and_files(published, tmp_path):
  mine = f"--checkpoint={tmp_path}/x"
  assert command.main(["convert", mine, "--name=mine", "--mean=0,0,0", "--std=1,1,1"]) == 0
  assert command.main(["convert", mine, f"--output={tmp_path}/folder"]) == 0
  models = cached.models_directory()
  assert convert.resolve(["tiny", "mine"]) == [models / "tiny", models / "mine"]
  assert convert.resolve(["t*", "mine", "?i*"]) == [models / "tiny", models / "mine"]
  assert convert.resolve([str(tmp_path / "folder")]) == [tmp_path / "folder"]
  assert convert.resolve([str(tmp_path / "fol*")]) == [tmp_path / "folder"]
  (converted,) = convert.resolve([str(tmp_path / "x")])
  assert converted.name == "x"
  assert convert.resolve([str(tmp_path / "x")]) == [converted]
  # What is there is no pattern, whatever it would find.
  for name in ("y1", "y[1]"):
    assert command.main(["convert", mine, f"--output={tmp_path}/{name}"]) == 0
  assert convert.resolve([str(tmp_path / "y[1]")]) == [tmp_path / "y[1]"]
  assert convert.resolve([str(tmp_path / "y[12]")]) == [tmp_path / "y1"]
  with pytest.raises(BiasjaxError, match="no model is called 'tinny': did you mean tiny"):
    convert.resolve(["tinny"])
  for path in ("checkpoints/none", "/nowhere/none.pth"):
    with pytest.raises(BiasjaxError, match=f"{path}: there is no such checkpoint: check the path"):
      convert.resolve([path])
    with pytest.raises(BiasjaxError, match="there is no such checkpoint"):
      convert.not_fetched([path])
  with pytest.raises(BiasjaxError, match="no checkpoint matches this pattern"):
    convert.resolve(["/nowhere/*.pth"])
  with pytest.raises(BiasjaxError, match="mine= goes before answers:FILE and MODULE:FUNCTION alone"):
    convert.not_fetched([f"mine={tmp_path / 'folder'}"])
  with pytest.raises(BiasjaxError, match="there is no such checkpoint"):
    convert.resolve([str(tmp_path / "absent.pth")])


def test_row_that_changed_is_converted_again(published, monkeypatch):
  import dataclasses

  (folder,) = convert.resolve(["tiny"])
  changed = dataclasses.replace(published, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
  monkeypatch.setattr(zoo, "ZOO", {"tiny": changed})
  assert convert.resolve(["tiny"]) == [folder]
  assert biasjax.load(folder).certificate["normalization"]["std"] == [1, 1, 1]


def test_damaged_conversion_in_the_cache_is_made_again(published):
  (folder,) = convert.resolve(["tiny"])
  (folder / "certificate.json").write_text("{")
  assert convert.resolve(["tiny"]) == [folder]
  assert json.loads((folder / "certificate.json").read_text())["model"]["name"] == "tiny"


def test_checkpoint_of_a_named_model_can_be_given_as_a_file(published, tmp_path, capsys):
  assert command.main(["convert", "--model=tiny", f"--checkpoint={tmp_path}/x"]) == 0
  assert convert.resolve(["tiny"], offline=True)
  (tmp_path / "y").write_bytes((tmp_path / "x").read_bytes() + b"\0")
  capsys.readouterr()
  assert command.main(["convert", "--model=tiny", f"--checkpoint={tmp_path}/y", "--overwrite"]) == 1
  assert "its sha256 is" in capsys.readouterr().err


def test_two_processes_convert_a_name_once(published, server, tmp_path):
  program = (
    "import sys; from biasjax.models import zoo; from biasjax.convert import resolve\n"
    "row = zoo.Checkpoint('tiny', 'baseline', 'tiny', sys.argv[1], 'plain', 'us', 'MIT', sys.argv[2])\n"
    "zoo.ZOO.clear(); zoo.ZOO['tiny'] = row; print(resolve(['tiny'])[0])"
  )
  command_line = [sys.executable, "-c", program, published.source, published.sha256]
  running = [subprocess.Popen(command_line, stdout=subprocess.PIPE, text=True) for _ in range(2)]
  said = [process.communicate(timeout=DEADLINE_S)[0].strip() for process in running]
  assert [process.returncode for process in running] == [0, 0]
  assert said[0] == said[1]
  assert len(server.requests) == 1
  assert biasjax.load(said[0]).name == "tiny"
