"""The wheel, unpacked and used from another directory, in a project that has packages of the same names."""

import os
import pathlib
import shutil
import subprocess
import sys
import tomllib
import zipfile

import pytest

ROOT = pathlib.Path(__file__).parents[2]
BUILT_FROM = ("biasjax", "configs", "pyproject.toml", "setup.py", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
  """A folder with what the wheel holds, unpacked."""
  source = tmp_path_factory.mktemp("source")
  for name in BUILT_FROM:
    copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
    copy(ROOT / name, source / name)
  pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
  subprocess.run([*pip, f"--wheel-dir={source / 'dist'}", str(source)], check=True, capture_output=True)
  (wheel,) = (source / "dist").glob("*.whl")
  folder = tmp_path_factory.mktemp("site")
  zipfile.ZipFile(wheel).extractall(folder)
  return folder


@pytest.fixture
def project(tmp_path):
  """A user's project with packages called `configs`, `convert` and `run`."""
  for name in ("configs", "convert", "run"):
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("raise RuntimeError('the wrong package')")
  return tmp_path


def called(site, project, entry: str, *arguments: str) -> subprocess.CompletedProcess:
  """Runs an installed command as the script does that pip writes for it."""
  command = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"][entry]
  module, function = command.split(":")
  script = project / entry
  script.write_text(f"from {module} import {function}\n{function}()\n")
  return subprocess.run(
    [sys.executable, str(script), *arguments],
    cwd=project,
    env=os.environ | {"PYTHONPATH": str(site)},
    capture_output=True,
    text=True,
    check=False,
  )


def test_the_wheel_brings_nothing_but_biasjax(site):
  assert sorted(path.name for path in site.iterdir() if path.suffix != ".dist-info") == ["biasjax"]


def test_the_wheel_has_every_file_that_the_package_needs(site):
  for folder, inside in (("biasjax", ""), ("configs", "configs")):
    for path in (ROOT / folder).rglob("*"):
      if path.is_file() and path.suffix != ".pyc":
        assert (site / "biasjax" / inside / path.relative_to(ROOT / folder)).is_file(), path


def test_installed_commands_work_in_a_project_with_packages_of_the_same_names(site, project):
  listed = called(site, project, "biasjax", "--list=probes")
  assert (listed.returncode, listed.stderr) == (0, "")
  assert listed.stdout.startswith("accuracy")
  for config in ("all", "demo", "sweep"):  # which build on others
    asked = called(site, project, "biasjax", f"--config=configs/{config}.py", "--workdir=")
    assert "cannot be loaded" not in asked.stderr
    assert asked.stderr.startswith("biasjax: error: "), asked.stderr
  wrong = called(site, project, "biasjax", "--modles=x")
  assert wrong.returncode == 1
  assert wrong.stderr.startswith("biasjax: error: ")
  assert "biasjax --help" in wrong.stderr
  wrong = called(site, project, "biasjax-convert", "--checkpoint=absent.pth")
  assert wrong.returncode == 1
  assert wrong.stderr.startswith("biasjax-convert: error: ")


def test_the_configs_are_found_beside_an_installed_package_of_that_name(site, project):
  other = site / "configs"
  shutil.copytree(project / "configs", other)
  try:
    studied = called(site, project, "biasjax", "--table=absent.csv")  # by the definitions of a config
    asked = called(site, project, "biasjax", "--config=configs/all.py", "--workdir=")
  finally:
    shutil.rmtree(other)
  assert asked.stderr.startswith("biasjax: error: --workdir= is empty")
  assert studied.stderr.startswith("biasjax: error: --table: cannot read absent.csv")


@pytest.mark.parametrize("command", ["biasjax", "biasjax-convert"])
def test_the_version_is_said(site, project, command):
  done = called(site, project, command, "--version")
  assert done.stdout == f"biasjax {tomllib_version()}\n"


def tomllib_version() -> str:
  """As it stands in the file that pyproject.toml names."""
  return (ROOT / "biasjax/version.py").read_text().rsplit('"', 2)[1]
