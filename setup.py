"""What pyproject.toml cannot say: configs/ is installed as biasjax/configs."""

import setuptools

setuptools.setup(
  packages=[*setuptools.find_packages(include=["biasjax*"]), "biasjax.configs"],
  package_dir={"biasjax.configs": "configs"},
)
