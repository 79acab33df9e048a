"""Drives a headless Chromium over its debugging pipe; needs nothing but the browser."""

import json
import os
import pathlib
import shutil
import subprocess

from deadline import DEADLINE_S

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
COMPLAINTS = ("Runtime.exceptionThrown", "Log.entryAdded")


class Page:
  """One page in a browser of its own.

  Attributes:
    requests: every address asked for.
    problems: console errors, exceptions and the browser's own complaints.
  """

  def __init__(self, profile: pathlib.Path, width: int, height: int, dark: bool = False):
    to_browser, ours_out = os.pipe()
    ours_in, from_browser = os.pipe()
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--hide-scrollbars"]
    # The browser reads its descriptor 3 and writes its 4; a shell moves ours there.
    wire = f'exec "$@" 3<&{to_browser} 4>&{from_browser}'
    self._process = subprocess.Popen(
      ["bash", "-c", wire, "bash", BROWSER, *flags, f"--user-data-dir={profile}", "about:blank"],
      pass_fds=(to_browser, from_browser),
      stdout=subprocess.DEVNULL,
      stderr=subprocess.DEVNULL,
    )
    os.close(to_browser)
    os.close(from_browser)
    self._out, self._in = ours_out, os.fdopen(ours_in, "rb")
    self._buffer, self._count, self._session = b"", 0, None
    self.requests: list[str] = []
    self.problems: list[str] = []
    target = self.call("Target.createTarget", url="about:blank")["targetId"]
    self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
    for domain in ("Page", "Runtime", "Network", "Log"):
      self.call(f"{domain}.enable")
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    self.call("Emulation.setDeviceMetricsOverride", **size)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    self.call("Emulation.setEmulatedMedia", features=[scheme])

  def __enter__(self):
    return self

  def __exit__(self, *exc):
    self._process.terminate()
    self._process.wait(timeout=DEADLINE_S)
    self._in.close()
    os.close(self._out)

  def call(self, method: str, **parameters):
    """A command's result; events that come meanwhile are kept."""
    self._count += 1
    message = {"id": self._count, "method": method, "params": parameters}
    if self._session:
      message["sessionId"] = self._session
    os.write(self._out, json.dumps(message).encode() + b"\0")
    while True:
      answer = self._read()
      if answer.get("id") == self._count:
        if "error" in answer:
          raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

  def open(self, path: pathlib.Path):
    """Loads a file and waits until it is complete."""
    self.call("Page.navigate", url=path.as_uri())
    while self.run("location.protocol + document.readyState") != "file:complete":
      pass

  def run(self, script: str):
    """The value of an expression in the page."""
    result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
    if "exceptionDetails" in result:
      raise RuntimeError(str(result["exceptionDetails"]))
    return result["result"].get("value")

  def _read(self) -> dict:
    while b"\0" not in self._buffer:
      part = self._in.read1(1 << 20)
      if not part:
        raise RuntimeError("the browser has gone")
      self._buffer += part
    message, self._buffer = self._buffer.split(b"\0", 1)
    event = json.loads(message)
    self._note(event.get("method"), event.get("params", {}))
    return event

  def _note(self, method: str | None, details: dict):
    if method == "Network.requestWillBeSent":
      self.requests.append(details["request"]["url"])
    elif method == "Runtime.consoleAPICalled" and details["type"] in ("error", "warning", "assert"):
      self.problems.append(json.dumps(details["args"]))
    elif method in COMPLAINTS:
      self.problems.append(json.dumps(details))
