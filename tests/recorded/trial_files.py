"""Recorded trials as published, of whatever is decided."""

import pathlib
from collections.abc import Iterable, Mapping

HEADER = "subj,Session,trial,rt,object_response,category,condition,imagename"


def write(
  folder: pathlib.Path,
  experiment: str,
  observer: str,
  trials: Iterable[tuple[str, str, str, str]],
  session: str = "session_1",
  column: str = "1",
) -> pathlib.Path:
  """<experiment>_<observer>_<session>.csv of (response, category, condition, end of the image's name)."""
  folder.mkdir(parents=True, exist_ok=True)
  path = folder / f"{experiment}_{observer}_{session}.csv"
  lines = [
    f"{observer},{column},{i},0.5,{response},{category},{condition},{i:04d}_x_s01_{condition}_{category}_{name}"
    for i, (response, category, condition, name) in enumerate(trials, start=1)
  ]
  path.write_text("\n".join([HEADER, *lines]))
  return path


def bears(right: Iterable[bool], condition: str = "0", start: int = 0) -> list[tuple[str, str, str, str]]:
  """Trials of pictures of bears, of which some are recognised and the others called cats."""
  numbered = enumerate(right, start)
  return [("bear" if hit else "cat", "bear", condition, f"10_n02132136_{i}.png") for i, hit in numbered]


def of(path: pathlib.Path, rows: Iterable[Mapping[str, str]]) -> pathlib.Path:
  """A file of these fields."""
  rows = list(rows)
  path.write_text("\n".join([",".join(rows[0]), *(",".join(row.values()) for row in rows)]))
  return path
