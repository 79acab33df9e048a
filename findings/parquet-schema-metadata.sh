#!/usr/bin/env bash
# pyarrow writes a table's schema metadata into a Parquet file twice, larger the second time, and never compressed.
#
# Whoever keeps a provenance record in `replace_schema_metadata` and asks for compression="zstd" expects a megabyte of
# repetitive text to cost next to nothing. It costs 2.33 megabytes: once as the file's key-value metadata, and once more inside
# the key ARROW:schema, the serialised Arrow schema in base64, which holds the metadata too. A footer is not compressed,
# whatever `compression` says. `store_schema=False` avoids the second copy, and drops the first one as well, without a word.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pyarrow==26.0.1
cd "$folder"
"$folder/venv/bin/python" - <<'PROGRAM'
import os
import sys

import pyarrow as pa
import pyarrow.parquet as pq

SIZE = 1_000_000
print("pyarrow", pa.__version__)
table = pa.table({"x": [1, 2, 3]}).replace_schema_metadata({"record": "0123456789" * (SIZE // 10)})
pq.write_table(table, "default.parquet", compression="zstd")
pq.write_table(table, "without.parquet", compression="zstd", store_schema=False)
stored = {key.decode(): len(value) for key, value in pq.read_metadata("default.parquet").metadata.items()}
size, kept = os.path.getsize("default.parquet"), pq.read_schema("without.parquet").metadata
print(f"a record of {SIZE:,} characters makes a file of {size:,} bytes, with {stored}")
print(f"with store_schema=False: {os.path.getsize('without.parquet'):,} bytes, schema metadata {kept}")
as_found = stored["record"] == SIZE and stored["ARROW:schema"] > 1.3 * SIZE and size > 2.3 * SIZE and kept is None
print("as found" if as_found else "the behaviour changed")
sys.exit(not as_found)
PROGRAM
