# pandas' own inline types make most indexing a union of everything; as Any it hides nothing of ours.
from typing import Any

def __getattr__(name: str) -> Any: ...
