"""python -m convert: see biasjax/cli/converting.py."""

from biasjax.cli.starting import convert

if __name__ == "__main__":
  convert()
