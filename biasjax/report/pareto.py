"""The figure of a Pareto front: error against disparity, of every network."""

import pathlib

import matplotlib as mpl
import pandas as pd

from biasjax.report.drawing import BLUE, INK, QUIET, STYLE, Drawing, figure, keep
from biasjax.report.scatters import name_points


def draw(table: pd.DataFrame, folder: pathlib.Path) -> list[pathlib.Path]:
  """Writes pareto_<dataset>.png, .svg and .csv for each dataset; returns the pictures.

  Args:
    table: of pareto.csv.
    folder: that is there.
  """
  drawn = []
  with mpl.rc_context(STYLE):
    for dataset, of in table.groupby("dataset", sort=False):
      drawing = front(of, str(dataset))
      keep(drawing, folder)
      drawn.append(folder / f"{drawing.name}.png")
  return drawn


def front(table: pd.DataFrame, dataset: str) -> Drawing:
  """Networks as points, the front as a staircase; how sure a network is of its place is its size."""
  drawn = figure(4.0)
  panel = drawn.subplots()
  stairs = table[table["front"]].sort_values(["error", "disparity"])
  panel.step(stairs["error"], stairs["disparity"], where="post", color=INK, linewidth=1.0, zorder=1)
  points = {}
  for on, colour, marker in ((True, BLUE, "o"), (False, QUIET, "s")):
    mine = table[table["front"] == on]
    gid = f"pareto-{'front' if on else 'others'}"
    sizes = 16 + 60 * mine["share_on_front"]
    panel.scatter(mine["error"], mine["disparity"], s=sizes, c=colour, marker=marker, zorder=3, gid=gid)
    points[gid] = [
      f"{row.model}: error {row.error:.1f} %, gap {row.disparity:.1f}; on the front in "
      f"{100 * row.share_on_front:.0f} % of draws"
      for row in mine.itertuples()
    ]
  panel.set_xlabel("error, %")
  panel.set_ylabel("gap between the best and the worst group, points")
  drawn.draw_without_rendering()  # lays it out, so that it is known what has room
  name_points(panel, table.rename(columns={"error": "x", "disparity": "y"}).set_index("model"))
  return Drawing(
    f"pareto_{dataset}",
    f"Error against disparity ({dataset})",
    "Round: no other network is at least as good in both and better in one; the larger, the more often that "
    "is so when images are drawn anew.",
    drawn,
    table,
    "Groups",
    points,
  )
