"""--margin: what it stands for."""

import pytest

from biasjax import probes
from biasjax.data.sources import Source
from biasjax.engine import margins
from biasjax.errors import BiasjaxError


def source(length: int, name: str = "imagenet") -> Source:
  return Source(name, length, lambda index: pytest.fail("nothing is read"), "made", "nowhere")


def planned(*names: str, of: Source) -> dict:
  return probes.plan(names, [of])


def test_a_margin_is_of_all_probes_that_a_sample_does_for_and_asks_clean_images_too():
  images = source(50_000)
  found = margins.apply("1", 0, planned("spectral", "critical_band", "watermark", of=images), [images])
  assert found.margins == {("imagenet", "spectral"): 1.0, ("imagenet", "critical_band"): 1.0}
  alone = margins.apply("1", 0, planned("critical_band", of=images), [images])
  assert [probe.name for probe in alone.planned["imagenet"]] == ["accuracy", "critical_band"]
  assert found.sources[0].fingerprint != images.fingerprint


def test_a_margin_of_some_probes_leaves_others_and_datasets_without_them_as_they_are():
  images, others = source(50_000), source(10_000, "other")
  plan = probes.plan(["spectral", "pgd@imagenet"], [images, others])
  found = margins.apply("2@pgd", 0, plan, [images, others])
  assert found.margins == {("imagenet", "pgd"): 2.0}
  assert found.sources[1] is others


def test_what_helps_a_dearer_attack_is_known_better():
  images = source(50_000)
  found = margins.apply("1", 0, planned("pgd", "autoattack", of=images), [images])
  assert found.margins == {("imagenet", "pgd"): 0.7, ("imagenet", "autoattack"): 1.0}


def test_autoattack_of_a_large_dataset_is_of_a_sample_and_says_so(capsys):
  large, small = source(50_000), source(5_000)
  found = margins.apply(None, 0, planned("spectral", "autoattack", of=large), [large])
  assert found.margins == {("imagenet", "autoattack"): 1.0}
  said = capsys.readouterr()
  assert "random sample of its 50,000 images" in " ".join((said.out + said.err).split())
  assert not margins.apply(None, 0, planned("autoattack", of=small), [small]).margins
  everything = margins.apply("0", 0, planned("autoattack", of=large), [large])
  assert not everything.margins
  assert everything.sources == [large]


@pytest.mark.parametrize(
  ("text", "said"),
  [
    ("much", "expected points"),
    ("-1", "expected points"),
    ("1@shape", "no probe 'shape'"),
    ("1@accuracy", "every image"),
  ],
)
def test_other_margins_are_refused_with_what_to_write(text, said):
  images = source(50_000)
  with pytest.raises(BiasjaxError, match=said):
    margins.apply(text, 0, planned("accuracy", "spectral", of=images), [images])
