"""The critical-band probe: published stimuli, published estimates, intervals."""

import math
import re

import jax
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import special

from biasjax import probes
from biasjax.errors import BiasjaxError
from biasjax.probes import critical_band
from made_images import pixels as made_pixels
from oracles import perturbed, published_repair

SDS = (0.02, 0.04, 0.08, 0.16)


def test_there_are_29_conditions():
  conditions = probes.get("critical_band").conditions
  assert len(conditions) == 29
  assert list(conditions)[:3] == ["clean", "f=0/sd=0.02", "f=0/sd=0.04"]
  assert list(conditions)[-1] == "f=6/sd=0.16"


@pytest.fixture(scope="module")
def pictures():
  return np.stack([made_pixels(224, 224, seed=seed) for seed in range(4)])


def grey(pixels):
  light = np.stack([np.asarray(Image.fromarray(image).convert("L")) for image in pixels]) / 255
  return (light - light.mean((1, 2), keepdims=True)) * 0.2 + 0.449


def test_zero_noise_returns_the_grey_low_contrast_image(pictures):
  shown = perturbed(probes.get("critical_band"), pictures, "clean")
  np.testing.assert_allclose(shown, np.repeat(grey(pictures)[..., None], 3, axis=3), rtol=0, atol=1e-6)


def published(light, white, band, sd):
  """The published stimulus from the same white noise: pyrtools, then the repair pixel by pixel."""
  pyrtools = pytest.importorskip("pyrtools", reason="parity tests need pyrtools")
  pyramid = pyrtools.pyramids.LaplacianPyramid(white * sd)
  octave, finest = pyramid.recon_pyr(levels=6 - band), pyramid.recon_pyr(levels=0)
  octave *= np.sqrt((finest**2).mean() / (octave**2).mean())
  return published_repair(light, octave, 0.1), light + octave


@pytest.mark.parametrize("sd", [0.04, 0.16])
@pytest.mark.parametrize("band", range(7))
def test_stimuli_are_the_published_ones_pixel_by_pixel(pictures, band, sd):
  shown = perturbed(probes.get("critical_band"), pictures[:1], f"f={band}/sd={sd}")[0]
  of_noise, _ = jax.random.split(jax.random.split(jax.random.key(0), 1)[0])
  drawn = np.asarray(jax.random.uniform(of_noise, (224, 224), minval=-1.0), np.float64)
  white = np.sqrt(2) * special.erfinv(drawn)
  expected, total = published(grey(pictures)[0], white, band, sd)
  # Rounding decides what happens to a pixel on the edge of the range itself.
  clear = (np.abs(total) > 1e-5) & (np.abs(total - 1) > 1e-5)
  assert clear.mean() > 0.999
  assert sd < 0.1 or band < 2 or ((total < 0) | (total > 1)).any()  # the repair is part of the test
  for channel in range(3):
    np.testing.assert_allclose(shown[clear, channel], expected[clear], rtol=0, atol=1e-5)


@pytest.mark.parametrize("sd", SDS)
def test_noise_grows_with_its_sd_and_stays_in_range(pictures, sd):
  shown = perturbed(probes.get("critical_band"), pictures, f"f=4/sd={sd}")
  assert shown.min() >= 0
  assert shown.max() <= 1
  added = shown[..., 0] - grey(pictures)
  assert np.sqrt((added**2).mean()) == pytest.approx(0.95 * sd, rel=0.05)


def test_noise_differs_between_images_and_conditions(pictures):
  probe = probes.get("critical_band")
  same = np.stack([pictures[0]] * 2)
  one = perturbed(probe, same, "f=3/sd=0.02")
  assert np.abs(one[0] - one[1]).max() > 0.02
  np.testing.assert_array_equal(one[..., 0], one[..., 2])


def table(
  accuracy: np.ndarray, n: int, sds=SDS, *, labels="imagenet", classes=1000
) -> dict[str, pd.DataFrame]:
  """Observations of n images with the accuracies [1 + SDs, 7], rows from SD 0."""
  rng = np.random.default_rng(0)
  columns = {"clean": accuracy[0, 0]}
  columns |= {f"f={f}/sd={sd:g}": accuracy[1 + s, f] for f in range(7) for s, sd in enumerate(sds)}
  frames = []
  for condition, p in columns.items():
    right = rng.permutation(np.arange(n) < round(p * n))
    frames.append(
      pd.DataFrame({"condition": condition, "example_id": np.arange(n).astype(str), "rank": 1 - right})
    )
    frames[-1]["label"] = np.arange(n) % classes
    frames[-1]["prediction"] = (frames[-1]["label"] + 1 - right) % classes
  observed = pd.concat(frames, ignore_index=True)
  observed.attrs["labels"] = "imagenet"
  return observed


def accuracies(thresholds, clean=0.8, steepness=6.0, sds=SDS):
  """Accuracies that pass half of `clean` at the SDs which the integer thresholds say."""
  half_way = 0.16 * 2.0 ** (0.5 - np.array(thresholds))
  falling = clean / (1 + (np.array(sds)[:, None] / half_way) ** steepness)
  return np.concatenate([np.full((1, 7), clean), falling])


def metrics_of(observed, name="critical_band"):
  metrics = probes.get(name).summarise({name: observed})
  return {metric.name: metric for metric in metrics}


def test_the_published_estimate_follows_from_the_observations():
  found = metrics_of(table(accuracies((0, 1, 2, 3, 4, 4, 3), clean=0.9), 1000))
  # The row of the paper's table whose thresholds are these.
  for name, value in {"bw": 4.738504767874221, "cf": 38.85445599644834, "pns": 1.0}.items():
    metric = found[f"metric/criticalband/{name}_norm"]
    assert metric.value == pytest.approx(value, rel=1e-5)
    assert metric.low <= metric.value <= metric.high
    assert metric.n == 1000


def test_norm_compares_with_the_clean_images_and_raw_with_one_half():
  found = metrics_of(table(accuracies((0, 1, 2, 3, 4, 4, 3), clean=0.45), 1000))
  assert found["metric/criticalband/bw_norm"].value == pytest.approx(4.738504767874221, rel=1e-5)
  assert math.isnan(found["metric/criticalband/cf"].value)  # never above one half: a flat vector
  assert math.isnan(found["criticalband/continuous/bw"].value)
  assert math.isnan(found["criticalband/continuous/threshold/f=3"].value)
  assert not math.isnan(found["criticalband/continuous/bw_norm"].value)


def test_continuous_thresholds_are_recovered():
  found = metrics_of(table(accuracies((0, 1, 2, 3, 4, 4, 3)), 4000))
  for band, t in enumerate((0, 1, 2, 3, 4, 4, 3)):
    metric = found[f"criticalband/continuous/threshold/f={band}_norm"]
    assert metric.value == pytest.approx(0.16 * 2 ** (0.5 - t), rel=0.15)
    assert metric.low < 0.16 * 2 ** (0.5 - t) < metric.high


def test_a_network_that_knows_nothing_has_no_channel():
  found = metrics_of(table(np.zeros((5, 7)), 100))
  for name in ("metric/criticalband/bw_norm", "criticalband/continuous/bw_norm", "metric/criticalband/cf"):
    assert math.isnan(found[name].value)
  assert found["top1_acc/criticalband/f=2/sd=0.04"].value == 0


def test_a_network_at_chance_has_no_channel_and_says_why():
  """Right on a sixteenth of 16 classes, with noise and without."""
  found = metrics_of(table(np.full((5, 7), 1 / 16), 800, classes=16))
  assert found["top1_acc/criticalband/clean"].chance == pytest.approx(6.25, abs=0.5)
  for name in ("criticalband/continuous/pns_norm", "criticalband/continuous/threshold/f=3_norm"):
    assert math.isnan(found[name].value)
  for name in ("criticalband/continuous/pns_norm", "metric/criticalband/pns_norm"):
    assert found[name].flag == "accuracy without noise cannot be told from chance"


def test_thresholds_outside_the_noise_and_channels_through_them_say_so():
  found = metrics_of(table(accuracies((0, 1, 2, 3, 4, 5.5, 3)), 2000))
  flags = [found[f"criticalband/continuous/threshold/f={band}_norm"].flag for band in range(7)]
  said = "extrapolated: outside the noise shown"
  assert flags == [said, "", "", "", said, said, ""]  # 0.226; 0.0141 and 0.005
  assert found["criticalband/continuous/cf_norm"].flag.endswith("extrapolated below the weakest noise")
  inside = metrics_of(table(accuracies((0, 1, 2, 3, 3, 2, 1)), 2000))
  assert inside["criticalband/continuous/cf_norm"].flag == ""


def test_a_flat_vector_of_thresholds_says_that_it_is_no_channel():
  found = metrics_of(table(accuracies((0, 1, 2, 3, 4, 4, 3), clean=0.45), 1000))
  assert found["metric/criticalband/bw"].flag == "all thresholds are equal: no channel"
  assert found["metric/criticalband/bw_norm"].flag == ""


def test_a_vector_for_which_the_published_fit_does_not_end_says_so():
  """One band of which no noise leaves anything, between others that none disturbs: SciPy gives up."""
  accuracy = np.full((5, 7), 0.9)
  accuracy[1:, 3] = 0
  found = metrics_of(table(accuracy, 400))
  for suffix in ("", "_norm"):
    for name in ("bw", "cf", "pns"):
      metric = found[f"metric/criticalband/{name}{suffix}"]
      assert math.isnan(metric.value)
      assert metric.flag == "the published fit does not end: no channel"


def test_more_noise_levels_can_be_asked_for():
  name = "critical_band:sds=0.01+0.02+0.04+0.08+0.16+0.32"
  probe = probes.get(name)
  assert probe.name == name
  assert len(probe.conditions) == 1 + 7 * 6
  sds = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32)
  found = metrics_of(table(accuracies((0, 1, 2, 3, 4, 4, 3), clean=0.9, sds=sds), 1000, sds), name)
  prefix = name.removeprefix("critical_band")
  assert found[f"metric/criticalband{prefix}/bw_norm"].value == pytest.approx(4.738504767874221, rel=1e-5)
  assert f"criticalband{prefix}/continuous/bw_norm" in found


def test_without_the_published_levels_there_is_no_published_estimate():
  name = "critical_band:sds=0.01+0.1"
  found = metrics_of(table(accuracies((0, 1, 2, 3, 4, 4, 3), sds=(0.01, 0.1)), 500, (0.01, 0.1)), name)
  assert not any(metric.startswith("metric/") for metric in found)


@pytest.mark.parametrize("sds", ["", "0.02", "0.04+0.02", "a+b", "0+0.02", "0.02+0.02"])
def test_senseless_noise_levels_are_refused(sds):
  with pytest.raises(BiasjaxError, match="sds"):
    probes.get(f"critical_band:sds={sds}")


def test_images_too_small_for_a_channel_are_refused():
  with pytest.raises(BiasjaxError, match="too few for a channel"):
    critical_band.make(16)


def test_a_channel_that_many_resamples_do_not_have_has_no_interval_and_says_so():
  """One band is a step above the others by a few images, and often is not when images are drawn anew."""
  observed = table(accuracies((1, 1, 1, 1, 1, 1.53, 1), clean=0.9), 300)
  found = metrics_of(observed)
  rng, right = np.random.default_rng(1), observed["rank"] == 0
  clean, stronger = (right[observed["condition"] == of].to_numpy() for of in ("clean", "f=5/sd=0.08"))
  drawn = rng.integers(300, size=(4000, 300))
  flat = (2 * stronger[drawn].sum(1) > clean[drawn].sum(1)).mean()
  assert 0.1 < flat < 0.9
  cf, bw, pns = (found[f"metric/criticalband/{of}_norm"] for of in ("cf", "bw", "pns"))
  assert math.isfinite(cf.value)
  assert math.isnan(cf.low)
  assert math.isnan(cf.high)
  said = re.fullmatch(r"in (\d+) % of resamples of the images no channel", cf.flag)
  assert said
  assert int(said[1]) == pytest.approx(100 * flat, abs=6)
  assert bw.flag == cf.flag
  assert math.isfinite(pns.low)
