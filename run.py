"""The command line of biasjax, in the repository: see biasjax/cli/main.py, or python run.py --help."""

from biasjax.cli.starting import biasjax

if __name__ == "__main__":
  biasjax()
