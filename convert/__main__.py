"""python -m convert: see biasjax/cli/converting.py."""

from biasjax.cli.converting import start

if __name__ == "__main__":
  start()
