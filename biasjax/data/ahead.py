"""Computing ahead in threads, in order."""

import collections
import concurrent.futures
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any


def ahead(function: Callable[[Any], Any], items: Iterable[Any], *, threads: int, most: int) -> Iterator[Any]:
  """`function` of each item, in the order of the items.

  Args:
    function: what threads do; an error is raised where its result would have come.
    items: taken one by one, as results are.
    threads: that work at once.
    most: results that are made or waited for before the one that is yielded next is taken.
  """
  pool = concurrent.futures.ThreadPoolExecutor(threads)
  try:
    rest = iter(items)
    waiting = collections.deque(pool.submit(function, item) for item in itertools.islice(rest, most))
    while waiting:
      first = waiting.popleft()
      waiting.extend(pool.submit(function, item) for item in itertools.islice(rest, 1))
      yield first.result()
  finally:  # also where nobody takes the rest
    pool.shutdown(wait=False, cancel_futures=True)
