"""What is computed ahead in threads comes in order, no further ahead than asked, and stops."""

import threading
import time

import pytest

from biasjax.data.ahead import ahead


def test_results_come_in_the_order_of_the_items_however_long_each_takes():
  def slow_first(item):
    time.sleep(0.02 if item % 7 == 0 else 0)
    return item * item

  assert list(ahead(slow_first, range(100), threads=8, most=20)) == [item * item for item in range(100)]


def test_no_more_is_begun_than_asked():
  begun, taken = [], 0
  for _ in ahead(begun.append, range(50), threads=4, most=6):
    taken += 1
    assert len(begun) <= taken + 6
  assert taken == len(begun) == 50


def test_an_error_is_raised_where_its_result_would_have_come():
  def refuses_three(item):
    if item == 3:
      raise ValueError("three")
    return item

  results = ahead(refuses_three, range(9), threads=4, most=9)
  assert [next(results) for _ in range(3)] == [0, 1, 2]
  with pytest.raises(ValueError, match="three"):
    next(results)


def test_who_stops_taking_stops_the_work():
  go_on, begun = threading.Event(), []

  def wait(item):
    begun.append(item)
    return item == 0 or go_on.wait()

  results = ahead(wait, range(1000), threads=2, most=100)
  next(results)
  results.close()
  go_on.set()
  time.sleep(0.05)
  assert len(begun) <= 3  # the first, and one for each thread


def test_no_items_no_results():
  assert list(ahead(str, [], threads=2, most=3)) == []
