"""Strength 0 changes nothing; each intervention does to images what its page says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from biasjax.cli import listing
from biasjax.errors import BiasjaxError
from biasjax.train import interventions, step
from biasjax.train.interventions import augmix, cutmix, diffusion_noise, mixup, patch_shuffle, stylised
from biasjax.train.interventions.base import Intervention, Victim
from jax_profiles import unusual_settings

SIZE = 32
AUGMENTING = [name for name in interventions.names() if interventions.parse(f"{name}=1")[0].augment]


def image(seed: int, size: int = SIZE) -> np.ndarray:
  return np.random.default_rng(seed).uniform(0.2, 0.8, (size, size, 3)).astype(np.float32)


TARGET, OTHER_TARGET = jnp.array([1.0, 0.0, 0.0]), jnp.array([0.0, 1.0, 0.0])


def many(spec: str, n: int = 64, shown=None, other=None):
  """(images [n, h, w, 3], targets [n, 3]) of n keys."""
  (intervention,) = interventions.parse(spec)
  shown = jnp.asarray(image(0) if shown is None else shown)
  other = jnp.asarray(image(1) if other is None else other)
  keys = jax.random.split(jax.random.key(0), n)
  augment = jax.jit(jax.vmap(lambda key: intervention.augment(key, shown, TARGET, other, OTHER_TARGET)))
  return tuple(map(np.asarray, augment(keys)))


@pytest.mark.parametrize("name", sorted(set(AUGMENTING) - {"random_crop"}))
def test_strength_zero_returns_image_and_target(name):
  images, targets = many(f"{name}=0", 4)
  np.testing.assert_allclose(images, np.broadcast_to(image(0), images.shape), atol=1e-6)
  np.testing.assert_array_equal(targets, np.broadcast_to(TARGET, targets.shape))


@pytest.mark.parametrize("name", ["linf_adversarial", "l2_adversarial", "random_crop"])
def test_strength_zero_does_nothing_at_all(name):
  (intervention,) = interventions.parse(f"{name}=0")
  assert intervention.attack is None
  assert intervention.augment is None


@pytest.mark.parametrize("name", AUGMENTING)
def test_the_image_changes_and_stays_a_picture(name):
  images, targets = many(f"{name}=1", 8)
  assert np.abs(np.asarray(images) - image(0)).max() > 0.05
  np.testing.assert_allclose(targets.sum(1), 1, rtol=1e-6)
  if name != "diffusion_noise":
    assert 0 <= images.min() <= images.max() <= 1


@pytest.mark.parametrize("name", ["stylised", "patch_shuffle", "low_pass", "high_pass", "flip", "greyscale"])
def test_the_strength_of_these_is_the_share_of_images_that_change(name):
  images, _ = many(f"{name}=0.25", 400)
  changed = int((np.abs(np.asarray(images) - image(0)).max((1, 2, 3)) > 1e-6).sum())
  assert 70 <= changed <= 130  # 100 +- 3.5 standard deviations


@pytest.mark.parametrize(
  ("name", "variance"), [("gaussian_noise", 1 / 3), ("uniform_noise", 1 / 9), ("band_noise", 0.3)]
)
def test_noise_has_mean_zero_and_the_variance_of_its_strength(name, variance):
  # E[(s u)^2] = s^2 / 3 for u ~ U(0, 1); a uniform value has a third of its squared half-width; an octave has
  # the RMS of the finest, 0.95 of the noise.
  strength, grey = 0.05, jnp.full((SIZE, SIZE, 3), 0.5)
  images, _ = many(f"{name}={strength}", 256, shown=grey)
  noise = np.asarray(images) - 0.5
  assert abs(noise.mean()) < 2e-3
  assert noise.var() == pytest.approx(variance * strength**2, rel=0.2)


def test_greyscale_and_contrast_are_those_of_torchvision(torchvision):
  import torch

  functional = torchvision.transforms.functional
  shown = torch.from_numpy(np.moveaxis(image(0), -1, 0).copy())
  grey = functional.rgb_to_grayscale(shown, num_output_channels=3).numpy()
  images, _ = many("greyscale=1", 2)
  np.testing.assert_allclose(images[0], np.moveaxis(grey, 0, -1), atol=2e-4)  # it rounds its weights
  images, _ = many("contrast=0.8", 64)
  factors = images.std((1, 2, 3)) / image(0).std()
  assert 0.2 <= factors.min() < 0.3 < 0.9 < factors.max() <= 1
  for found in images[:4]:
    factor = float((found[0, 0, 0] - found[9, 9, 0]) / (image(0)[0, 0, 0] - image(0)[9, 9, 0]))
    expected = functional.adjust_contrast(shown, factor).numpy()
    np.testing.assert_allclose(found, np.moveaxis(expected, 0, -1), atol=2e-4)


def power(images) -> np.ndarray:
  """Mean power at each radius of the centred spectrum."""
  centred = np.asarray(images, np.float64) - np.mean(images, axis=(-3, -2), keepdims=True)
  found = (np.abs(np.fft.fftshift(np.fft.fft2(centred, axes=(-3, -2)), axes=(-3, -2))) ** 2).mean((0, -1))
  at = np.arange(SIZE) - SIZE // 2
  radius = np.rint(np.hypot(at[:, None], at[None])).astype(int)
  return np.bincount(radius.ravel(), found.ravel()) / np.bincount(radius.ravel())


def test_low_pass_leaves_nothing_above_the_largest_cutoff_and_high_pass_the_highest_frequencies():
  whole = power(np.asarray(image(0))[None])
  low = power(many("low_pass=1", 32)[0])
  assert low[10:16].max() < 0.02 * whole[10:16].min()  # half of 16 is 8
  assert low[1] == pytest.approx(whole[1], rel=0.05)
  grating = jnp.broadcast_to(
    0.5 + 0.4 * jnp.sin(jnp.arange(SIZE) * 2 * jnp.pi * 3 / SIZE)[:, None, None], (SIZE, SIZE, 3)
  )
  assert np.abs(many("high_pass=1", 8, shown=grating)[0]).max() < 1e-4  # 3 of 16 is below every cutoff


def test_band_noise_is_of_one_octave():
  grey = jnp.full((SIZE, SIZE, 3), 0.5)
  images = np.asarray(many("band_noise=0.1", 16, shown=grey)[0])
  np.testing.assert_allclose(images, images[..., :1].repeat(3, -1))  # grey
  for one in images:
    spectrum = power(one[None])[1:17]
    top = int(np.argmax(spectrum)) + 1
    outside = [spectrum[r - 1] for r in range(1, 17) if r > 4 * top or r < top / 4]
    assert not outside or max(outside) < 0.25 * spectrum.max()


def test_stylising_keeps_what_is_coarse_and_takes_what_is_fine():
  flat = jnp.full((64, 64, 3), 0.5)
  wave = jnp.sin(jnp.arange(64) * 2 * jnp.pi / 64)[:, None, None] * 0.2
  coarse = flat + wave
  fine = flat + 0.2 * jnp.sin(jnp.arange(64) * 2 * jnp.pi * 16 / 64)[:, None, None]
  keys = jax.random.split(jax.random.key(0), 32)
  keep = jax.vmap(lambda key: stylised.stylise(key, coarse, flat))(keys)
  np.testing.assert_allclose(keep, np.broadcast_to(coarse, keep.shape), atol=0.04)  # edges are mirrored
  taken = np.asarray(jax.vmap(lambda key: stylised.stylise(key, fine, fine))(keys)) - 0.5
  # The image's own grating is gone; the other's is there, in either orientation.
  upright = np.abs(np.fft.fft(taken.mean(2), axis=1))[:, 16, 0].round(3)
  across = np.abs(np.fft.fft(taken.mean(1), axis=1))[:, 16, 0].round(3)
  assert set(np.unique(upright > 1)) == set(np.unique(across > 1)) == {False, True}
  np.testing.assert_array_equal(upright > 1, across < 1)


def test_blurring_weighs_like_a_gaussian():
  from scipy.ndimage import gaussian_filter

  shown = np.asarray(image(3, 64), np.float64)
  expected = gaussian_filter(shown, (0.04 * 64, 0.04 * 64, 0), mode="reflect", truncate=8)
  np.testing.assert_allclose(stylised.blur(jnp.asarray(shown, jnp.float32)), expected, atol=1e-4)


def test_shuffled_patches_are_the_same_patches():
  shown = image(0)
  mixed = np.asarray(patch_shuffle.shuffle(jax.random.key(1), jnp.asarray(shown), 4))

  def patches(x):
    blocks = np.asarray(x).reshape(4, 8, 4, 8, 3).swapaxes(1, 2).reshape(16, -1)
    return blocks[np.lexsort(blocks.T)]

  np.testing.assert_array_equal(patches(mixed), patches(shown))
  with pytest.raises(BiasjaxError, match="does not divide images of 32x32"):
    patch_shuffle.shuffle(jax.random.key(0), jnp.asarray(shown), 5)


def test_mixup_is_the_average_that_its_target_says():
  images, targets = many("mixup=0.4", 128)
  weight = np.asarray(targets)[:, 0]
  expected = weight[:, None, None, None] * image(0) + (1 - weight)[:, None, None, None] * image(1)
  np.testing.assert_allclose(images, expected, atol=1e-6)
  assert weight.min() >= 0.5
  # E[max(w, 1 - w)] for w ~ Beta(a, a), by numerical integration.
  from scipy.integrate import quad
  from scipy.stats import beta

  mean = quad(lambda w: w * 2 * beta(0.4, 0.4).pdf(w), 0.5, 1)[0]
  assert weight.mean() == pytest.approx(mean, abs=0.05)
  assert mixup.own_weight(jax.random.key(0), 0.0) == 1


def test_cutmix_pastes_as_much_as_its_target_says():
  images, targets = many("cutmix=1", 64, shown=jnp.zeros((SIZE, SIZE, 3)), other=jnp.ones((SIZE, SIZE, 3)))
  np.testing.assert_allclose(np.asarray(images).mean((1, 2, 3)), targets[:, 1], atol=1e-6)
  for one in np.asarray(images)[..., 0]:
    rows, columns = one.any(1), one.any(0)
    np.testing.assert_array_equal(one, np.outer(rows, columns))  # a rectangle
  assert targets[:, 1].max() <= 0.6
  assert cutmix.NAME == "cutmix"


@pytest.mark.parametrize("alpha", [0.3, 0.9, 0.999])
def test_diffusion_noise_keeps_variance_and_the_published_formula_does_not(alpha):
  alpha = jnp.float32(alpha)
  assert diffusion_noise.noise_scale(alpha, "variance") ** 2 + alpha**2 == pytest.approx(1, abs=1e-5)
  published = float(diffusion_noise.noise_scale(alpha, "published"))
  assert published == pytest.approx(np.sqrt(1 - float(alpha) ** float(alpha)), rel=1e-3)
  assert published < diffusion_noise.noise_scale(alpha, "variance")


def test_an_affine_map_that_does_nothing_returns_the_image_and_a_shift_moves_it():
  shown = image(0)
  same = augmix.affine(jnp.asarray(shown), jnp.eye(2), jnp.zeros(2))
  np.testing.assert_allclose(same, shown, atol=1e-6)
  moved = augmix.affine(jnp.asarray(shown), jnp.eye(2), jnp.array([4 / SIZE, 0.0]))
  np.testing.assert_allclose(moved[4:], shown[:-4], atol=1e-6)


def test_a_random_crop_shows_a_part_of_the_image():
  ramp = jnp.broadcast_to(jnp.linspace(0, 1, SIZE)[:, None, None], (SIZE, SIZE, 3))
  images = np.asarray(many("random_crop=0.75", 64, shown=ramp)[0])
  rises = images[:, -1, 0, 0] - images[:, 0, 0, 0]
  assert (rises > 0.3).all()
  assert (rises < 1 + 1e-6).all()
  assert rises.min() < 0.75


@pytest.mark.parametrize(("spec", "norm"), [("linf_adversarial=8", np.inf), ("l2_adversarial=0.5", 2)])
def test_an_attack_stays_in_its_ball_and_raises_the_loss(spec, norm):
  (intervention,) = interventions.parse(spec)
  weights = jnp.asarray(np.random.default_rng(0).normal(size=(SIZE, SIZE, 3)), jnp.float32)
  eps = 8 / 255 if norm == np.inf else 0.5

  def losses(images):
    return jnp.sum(images * weights[None], axis=(1, 2, 3))

  images = jnp.asarray(np.stack([image(0), image(1)]))
  keys = jax.random.split(jax.random.key(0), 2)
  attacked = intervention.attack(keys, Victim(losses, None), images)
  change = np.asarray(attacked - images, np.float64)
  sizes = np.abs(change).max((1, 2, 3)) if norm == np.inf else np.sqrt((change**2).sum((1, 2, 3)))
  np.testing.assert_allclose(sizes, eps, rtol=1e-3)
  # The loss is linear: the best there is, by hand.
  best = eps * (np.abs(weights).sum() if norm == np.inf else np.linalg.norm(weights))
  np.testing.assert_allclose(losses(attacked) - losses(images), best, rtol=0.02)


@pytest.mark.parametrize("spec", ["linf_adversarial:steps=1=8", "sada:start=1:steps=1=0.1"])
def test_the_noise_of_an_attack_belongs_to_the_example_not_to_its_row_or_device(spec):
  (intervention,) = interventions.parse(spec)
  flat = Victim(lambda images: jnp.zeros(len(images)), lambda images: jnp.ones(len(images), bool))
  images = np.stack([image(seed) for seed in range(4)])

  def attacked(indices):
    indices = np.array(indices)
    keys = jax.vmap(lambda index: step.key_of(jax.random.key(5), index, intervention))(jnp.asarray(indices))
    return np.asarray(intervention.attack(keys, flat, jnp.asarray(images[indices])))

  whole = attacked(range(4))
  np.testing.assert_allclose(attacked([2, 0]), whole[[2, 0]], atol=1e-6)
  assert np.abs((whole[0] - images[0]) - (whole[1] - images[1])).max() > 1e-3


def test_whether_interventions_fit_does_not_depend_on_settings_of_jax():
  with unusual_settings():
    for name in AUGMENTING:
      step.fit(interventions.parse(f"{name}=1"), SIZE, 3)
    with pytest.raises(BiasjaxError, match="does not divide images of 32x32"):
      step.fit(interventions.parse("flip=1+patch_shuffle:grid=5=1"), SIZE, 3)


@pytest.mark.parametrize(
  ("changes", "said"),
  [
    (
      {"augment": lambda key, image, target, other, other_target: (image[::2], target)},
      r"its augment gives float32 \[16, 32, 3\], float32 \[3\], not float32 \[32, 32, 3\], float32 \[3\]",
    ),
    (
      {"augment": lambda key, image, target, other, other_target: (image, target[:2])},
      r"its augment gives float32 \[32, 32, 3\], float32 \[2\], not",
    ),
    (
      {"augment": lambda key, image, target, *_: ((255 * image).astype(jnp.uint8), target)},
      r"its augment gives uint8 \[32, 32, 3\], float32 \[3\], not",
    ),
    ({"augment": lambda key, image, target, other, other_target: image}, r"gives float32 \[32, 32, 3\], not"),
    (
      {"augment": lambda key, image, target, *_: (image + jnp.zeros((5, 7)), target)},
      r"its augment raises \w+Error: .*test_interventions.py, line \d+",
    ),
    (
      {"attack": lambda keys, victim, images: victim.losses(images)},
      r"its attack gives float32 \[1\], not float32 \[1, 32, 32, 3\]",
    ),
    ({"attack": lambda keys, victim: victim}, "its attack raises TypeError: .* positional argument"),
  ],
)
def test_an_intervention_of_ones_own_that_gives_something_else_is_one_line(changes, said):
  with pytest.raises(BiasjaxError, match=f"interventions: own: .*{said}") as raised:
    step.fit([Intervention("own", 1.0, **changes)], SIZE, 3)
  assert "\n" not in str(raised.value)


def test_the_attacks_of_this_project_fit():
  attacking = [name for name in interventions.names() if interventions.parse(f"{name}=1")[0].attack]
  assert {"linf_adversarial", "l2_adversarial", "sada"} <= set(attacking)
  for name in attacking:
    step.fit(interventions.parse(f"{name}=1"), SIZE, 3)


@pytest.mark.parametrize("strength", ["1e-46", "1e-40", "1e-30"])
def test_a_mixup_of_next_to_nothing_is_none(strength):
  images, targets = many(f"mixup={strength}", 8)
  np.testing.assert_array_equal(images, np.broadcast_to(image(0), images.shape))
  np.testing.assert_array_equal(targets, np.broadcast_to(TARGET, targets.shape))


@pytest.mark.parametrize("name", interventions.names())
def test_the_line_that_lists_an_intervention_is_a_whole_sentence(name):
  said = listing.interventions(name).split("  ")
  assert [part for part in said if part][1].endswith(".")


def test_frozen_filters_scale_the_updates_of_spatial_kernels_only():
  (intervention,) = interventions.parse("frozen_filters=1")
  assert intervention.update_scale(("conv", "kernel"), np.zeros((3, 3, 4, 4))) == 0
  assert intervention.update_scale(("conv", "kernel"), np.zeros((1, 1, 4, 4))) == 1
  assert intervention.update_scale(("fc", "kernel"), np.zeros((4, 4))) == 1
  assert interventions.parse("frozen_filters=0")[0].update_scale(("c", "kernel"), np.zeros((3, 3, 4, 4))) == 1


def test_a_spec_names_interventions_in_order():
  found = interventions.parse("flip=0.5+patch_shuffle:grid=2=1+gaussian_noise=1e-2")
  assert [(i.name, i.strength) for i in found] == [
    ("flip", 0.5),
    ("patch_shuffle", 1.0),
    ("gaussian_noise", 0.01),
  ]
  assert interventions.parse("none") == ()


def test_a_strength_may_be_written_with_a_power_of_ten_of_either_sign():
  """As a sweep writes one from 1e15 on; what is drawn is more than any image holds."""
  found = interventions.parse("gaussian_noise=1e+2+mixup=1E+15+sada:start=1e+1=2e-1+flip=1e-0")
  assert [(i.name, i.strength) for i in found] == [
    ("gaussian_noise", 100.0),
    ("mixup", 1e15),
    ("sada", 0.2),
    ("flip", 1.0),
  ]


@pytest.mark.parametrize(
  ("spec", "message"),
  [
    ("stylized=1", "did you mean stylised"),
    ("", "is not NAME=STRENGTH"),
    ("flip", "is not NAME=STRENGTH"),
    ("flip=x", "strength must be a number"),
    ("flip=-1", "strength must be a number"),
    ("gaussian_noise=inf", "strength must be a number"),
    ("mixup=1e300", "strength must be a number"),  # more than a float32 holds
    ("flip=2", "the strength is a share"),
    ("flip=0.5+flip=1", "named twice"),
    ("patch_shuffle:side=4=1", "does not take 'side': its options are grid"),
    ("patch_shuffle:grid=x=1", "whole number"),
    ("linf_adversarial:steps=0=4", "whole number from 1"),
    ("flip:x=1=1", "it has no options"),
    ("diffusion_noise:formula=other=1", "expected one of variance, published"),
  ],
)
def test_a_mistake_in_a_spec_is_named(spec, message):
  with pytest.raises(BiasjaxError, match=message):
    interventions.parse(spec)
