"""configs/related.py names columns that the probes give."""

import inspect

import numpy as np

import made_observations
from biasjax.configuration import load
from biasjax.probes import gradient_spectrum
from biasjax.results import disparity
from biasjax.study import definitions


def test_every_measure_is_a_column_that_something_gives():
  given = {"top1_acc/imagenet", *made_observations.summary("sensitivity", lambda of: 5, 10, clean=8)}
  given |= set(made_observations.summary("corruptions", lambda of: 5, 10))
  study = load("related").get_config().to_dict()["study"]
  one = disparity.of_groups(np.array(["a", "b"]), np.array([0, 1]))
  given |= {name.format(dataset="imagenet") for name, _ in disparity.metrics(one)}
  (of_gradient,) = set(definitions.parse(study).used_columns()) - given
  assert of_gradient == "gradient-spectrum/centroid"
  assert 'f"gradient-spectrum/{name}"' in inspect.getsource(gradient_spectrum)
