"""The one exception type for mistakes that a user can mend."""


class BiasjaxError(Exception):
  """Something a user can put right: a file, a name, a flag, a dataset.

  The message is one line that says what is wrong, where, and what to do. Commands print it without a
  traceback and exit with status 1; any other exception is a defect of biasjax and keeps its traceback.
  """
