"""Prepares benchmarks as TFDS datasets in array_record, from archives or folders as they are distributed."""

from biasjax.data.builders.prepare import prepare

__all__ = ["prepare"]
