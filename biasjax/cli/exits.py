"""The exit statuses of the commands; docs/running.md says what a scheduler should make of each."""

MISTAKE = 1  # in what was asked; or storage failed
UNDECODABLE = 3  # the tables are there, without some images
INCOMPLETE = 4  # a model was left out, or --dry_run missed a dataset
INTERRUPTED = 75  # EX_TEMPFAIL of sysexits.h: start again
