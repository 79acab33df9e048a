"""Files of the zoo from the network into a cache: resumed after a break, verified, whole or not at all."""

import email.message
import errno
import hashlib
import http.client
import os
import pathlib
import re
import time
import urllib.error
import urllib.parse
import urllib.request

from biasjax import messages, processes
from biasjax.errors import BiasjaxError
from biasjax.version import __version__

ATTEMPTS = 6  # without progress; each waits twice as long as the one before
WAIT = 1.0  # seconds before the second attempt
TIMEOUT = 60.0  # seconds without a byte
PIECE = 2**20  # bytes
TRANSIENT = {408, 425, 429, 500, 502, 503, 504}
HUGGING_FACE = "https://huggingface.co"
DRIVE = "https://drive.usercontent.google.com"


def cache_directory() -> pathlib.Path:
  """$BIASJAX_CACHE, or biasjax under the user's cache directory."""
  if folder := os.environ.get("BIASJAX_CACHE"):
    return pathlib.Path(folder).expanduser()
  return pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "biasjax"


def url(source: str) -> str:
  """The address of a source in the zoo's notation.

  $HF_ENDPOINT replaces Hugging Face's address, as in its own tools.

  Raises:
    BiasjaxError: it is no such notation.
  """
  kind, _, rest = source.partition(":")
  if kind == "hf" and rest.count("/") >= 2:
    owner, repository, file = rest.split("/", 2)
    endpoint = os.environ.get("HF_ENDPOINT") or HUGGING_FACE
    return f"{endpoint.rstrip('/')}/{owner}/{repository}/resolve/main/{urllib.parse.quote(file)}"
  if kind == "drive" and rest:
    return f"{DRIVE}/download?{urllib.parse.urlencode({'id': rest, 'export': 'download', 'confirm': 't'})}"
  if kind in ("http", "https") and urllib.parse.urlsplit(source).netloc:
    return source
  raise BiasjaxError(f"{source}: is no source; write hf:OWNER/REPOSITORY/FILE, drive:ID or https://...")


def file_name(source: str) -> str:
  """What the file of a source is called in the cache: readable, and different for every source."""
  stem = urllib.parse.urlsplit(source).path.rpartition("/")[2] if "/" in source else source
  readable = re.sub(r"[^A-Za-z0-9._-]", "_", stem)[-80:]
  return f"{hashlib.sha256(source.encode()).hexdigest()[:12]}-{readable}"


def cached(source: str) -> pathlib.Path | None:
  """The file of a source, if it is in the cache."""
  path = cache_directory() / "downloads" / file_name(source)
  return path if path.is_file() else None


def fetch(source: str, *, sha256: str | None = None, offline: bool = False) -> pathlib.Path:
  """The file of a source, from the cache or the network.

  Safe when several processes want the same file at once: one downloads, the others wait for it. A download
  that breaks off is kept and continued, by this call or a later one.

  Args:
    source: in the zoo's notation.
    sha256: of the file, where it is known.
    offline: whether the network may not be used.

  Raises:
    BiasjaxError: not found, not reachable, not what it should be, no room; or offline and not in the cache.
  """
  address = url(source)
  path = cache_directory() / "downloads" / file_name(source)
  if path.is_file():
    return path
  if offline:
    raise BiasjaxError(f"{source}: is not in the cache ({path.parent}), and --offline keeps from fetching it")
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    with processes.alone(path.with_name(f"{path.name}.lock")):
      if not path.is_file():
        _download(source, address, path, sha256)
  except OSError as error:
    reason = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or str(error)
    raise BiasjaxError(
      f"{path.parent}: cannot be written ({reason}); what is there will be continued"
    ) from error
  return path


def _download(source: str, address: str, path: pathlib.Path, sha256: str | None) -> None:
  part = path.with_name(f"{path.name}.part")
  tag = path.with_name(f"{path.name}.etag")  # of the version that the part is of
  failures, reason = 0, ""
  while failures < ATTEMPTS:
    if failures:
      time.sleep(WAIT * 2 ** (failures - 1))
    before = part.stat().st_size if part.exists() else 0
    try:
      _receive(source, address, part, tag)
      break
    except urllib.error.HTTPError as error:
      error.close()
      _explain(source, address, error)
      reason = f"{error.code} {error.reason}"
    except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
      reason = str(getattr(error, "reason", "") or error or type(error).__name__)
    progressed = part.exists() and part.stat().st_size > before
    failures = 1 if progressed else failures + 1
  else:
    raise BiasjaxError(f"{source}: cannot be fetched ({reason}): try again, it will be continued")
  with open(part, "rb") as file:
    found = hashlib.file_digest(file, "sha256").hexdigest()
  if sha256 and found != sha256:
    part.unlink()
    tag.unlink(missing_ok=True)
    raise BiasjaxError(f"{source}: its sha256 is {found}, not {sha256}; it was thrown away")
  os.replace(part, path)
  tag.unlink(missing_ok=True)


def _explain(source: str, address: str, error: urllib.error.HTTPError) -> None:
  """Raises for an answer that will not change by asking again."""
  if error.code in TRANSIENT:
    return
  meaning = {401: "needs a login", 403: "is forbidden", 404: "is not there", 410: "is gone"}
  what = meaning.get(error.code, error.reason)
  raise BiasjaxError(
    f"{source}: {what} ({error.code} from {address}); if you have the file, give it with --checkpoint"
  ) from error


def _receive(source: str, address: str, part: pathlib.Path, tag: pathlib.Path) -> None:
  """One request; continues what is there. Raises what urllib raises when the connection breaks."""
  have = part.stat().st_size if part.exists() else 0
  headers = {"User-Agent": f"biasjax/{__version__}", "Accept-Encoding": "identity"}
  version = tag.read_text() if tag.exists() else ""
  if have and version:
    headers |= {"Range": f"bytes={have}-", "If-Range": version}
  request = urllib.request.Request(address, headers=headers)
  try:
    response = urllib.request.urlopen(request, timeout=TIMEOUT)
  except urllib.error.HTTPError as error:
    if error.code != 416:
      raise
    error.close()
    part.unlink(missing_ok=True)  # longer than the file: begin anew
    tag.unlink(missing_ok=True)
    raise ConnectionError("the server has another version") from error
  with response:
    if response.headers.get_content_type() == "text/html":
      raise BiasjaxError(
        f"{source}: the server sent a web page instead of the file (a quota, or a login): fetch it with a "
        f"browser from {address} and give it with --checkpoint"
      )
    resumed = response.status == 206 and _starts_at(response.headers, have)
    if not resumed:
      tag.write_text(response.headers.get("ETag") or response.headers.get("Last-Modified") or "")
    start = have if resumed else 0
    length = response.headers.get("Content-Length")
    total = start + int(length) if length and length.isdigit() else None
    with (
      open(part, "ab" if resumed else "wb") as file,
      messages.progress(
        total=total,
        initial=start,
        unit="B",
        unit_scale=True,
        desc=file_name(source)[13:],
      ) as progress,
    ):
      while piece := response.read(PIECE):
        file.write(piece)
        progress.update(len(piece))
      received = file.tell()
  if total is not None and received != total:
    raise ConnectionError(f"the connection broke off after {received} of {total} bytes")


def _starts_at(headers: email.message.Message, position: int) -> bool:
  return (headers.get("Content-Range") or "").startswith(f"bytes {position}-")
