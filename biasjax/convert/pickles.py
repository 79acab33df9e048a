"""A pickle machine that builds plain containers and records everything else; it imports and calls nothing.

Python's own unpickler calls whatever a file names. Restricting its `find_class` is not enough: a BUILD opcode
still sets attributes of whatever is on the stack, and a memo index can ask for gigabytes. So the opcodes are
interpreted here (decoded by the standard library's pickletools), over a bounded stretch of bytes.
"""

import dataclasses
import io
import pickletools
import warnings
from collections.abc import Callable, Mapping
from typing import Any

# A checkpoint's pickle holds names and shapes, not weights: 50 kB for a ResNet, 200 kB with its optimiser.
LIMIT = 16 * 2**20  # bytes
OPERATIONS = 2_000_000
NAME = 300  # characters of a global's name


def printable(text: str) -> str:
  """Text from a file, without what would break a line, command a terminal, or not encode."""
  return "".join(c if c.isprintable() else "?" for c in text)


class PickleError(Exception):
  """A pickle that is damaged, or does what no checkpoint needs; the message says what."""


@dataclasses.dataclass(frozen=True)
class Global:
  """Something that a pickle refers to by module and name. Only the two strings: never imported."""

  module: str
  name: str

  def __str__(self):
    return printable(f"{self.module}.{self.name}")


@dataclasses.dataclass(eq=False)
class Placeholder:
  """What a pickle wanted to build with a global that is not known here; inert."""

  kind: str
  arguments: tuple = ()
  state: Any = None
  items: list = dataclasses.field(default_factory=list)

  def __repr__(self):
    return f"<{self.kind}>"


# That nothing runs is the machine's doing, whatever the name. A file that calls one of these is hostile, and
# whoever converts it should hear of that.
HOSTILE_MODULES = {
  *("asyncio", "code", "codeop", "commands", "ctypes", "importlib", "nt", "os", "pdb", "posix"),
  *("pty", "runpy", "shutil", "signal", "socket", "subprocess", "sys", "timeit", "webbrowser"),
}
HOSTILE_BUILTINS = {"__import__", "breakpoint", "compile", "eval", "exec", "execfile", "input", "open"}


def is_hostile(kind: Global) -> bool:
  """Whether a pickle that calls this global tries to run something."""
  top = kind.module.split(".")[0]
  if top in ("builtins", "__builtin__", "io", "_io"):
    return kind.name.split(".")[0] in HOSTILE_BUILTINS
  return top in HOSTILE_MODULES


def _ordered_dict(arguments: tuple) -> dict:
  pairs = arguments[0] if arguments else ()
  if isinstance(pairs, dict):
    return pairs
  if not isinstance(pairs, (list, tuple)):
    raise PickleError("an OrderedDict is built from something that is not a list of pairs")
  result: dict = {}
  for pair in pairs:
    if not isinstance(pair, (list, tuple)) or len(pair) != 2:
      raise PickleError("an OrderedDict is built from something that is not a list of pairs")
    result[_key(pair[0])] = pair[1]
  return result


def _default_dict(arguments: tuple) -> dict:
  return _ordered_dict(arguments[1:])


def _set(arguments: tuple) -> set:
  members = arguments[0] if arguments else ()
  if not isinstance(members, (list, tuple, set, frozenset)):
    raise PickleError("a set is built from something that is not a list")
  return {_key(member) for member in members}


def _encode(arguments: tuple) -> bytes:
  # How protocol 2 writes bytes from Python 3.
  if len(arguments) != 2 or not isinstance(arguments[0], str) or arguments[1] != "latin1":
    raise PickleError("_codecs.encode is used for something else than bytes")
  try:
    return arguments[0].encode("latin1")
  except UnicodeEncodeError as error:
    raise PickleError("_codecs.encode is used for something else than bytes") from error


def _tuple(arguments: tuple) -> tuple:
  members = arguments[0] if arguments else ()
  if not isinstance(members, (list, tuple)):
    raise PickleError("a torch.Size is built from something that is not a list")
  return tuple(members)


Builder = Callable[[tuple], Any]
CONTAINERS: dict[Global, Builder] = {
  Global("collections", "OrderedDict"): _ordered_dict,
  Global("collections", "defaultdict"): _default_dict,
  Global("builtins", "set"): _set,
  Global("__builtin__", "set"): _set,
  Global("_codecs", "encode"): _encode,
  Global("torch", "Size"): _tuple,
}


def load(
  stream: io.BytesIO,
  *,
  builders: Mapping[Global, Builder] = CONTAINERS,
  persistent: Callable[[Any], Any] | None = None,
  seen: set[Global] | None = None,
) -> Any:
  """Reads one pickle and leaves `stream` behind it.

  Args:
    stream: at the start of a pickle, of protocol 0 to 5.
    builders: what may be built, each a function of the tuple of arguments; every other global, called or
      not, stays a `Global` or becomes a `Placeholder`.
    persistent: persistent id -> object; without it, a persistent id is an error.
    seen: collects the globals that are referred to.

  Returns:
    dict, list, tuple, set, str, bytes, numbers, and what `builders` and `persistent` make.

  Raises:
    PickleError: damaged, larger than `LIMIT`, or a call of something hostile.
  """
  machine = _Machine(builders, persistent, set() if seen is None else seen)
  start = stream.tell()
  try:
    with warnings.catch_warnings():
      warnings.simplefilter("ignore", DeprecationWarning)  # of a backslash in damaged text
      for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
        machine.step(opcode.name, argument)
        if count > OPERATIONS or stream.tell() - start > LIMIT:
          raise PickleError("the pickle is larger than any checkpoint's")
  except (ValueError, OverflowError, IndexError, KeyError) as error:
    raise PickleError(f"the pickle is damaged or cut short ({_one_line(error)})") from error
  return machine.result


def _one_line(error: Exception) -> str:
  return printable(" ".join(str(error).split())[:120]) or type(error).__name__


def _key(value: Any) -> Any:
  # Only what hashes at once: a tuple nested deep enough would overflow the C stack, and a long one or a long
  # number is hashed anew each time that the memo brings it back.
  if (isinstance(value, tuple) and len(value) <= 8 and all(map(_is_plain, value))) or _is_plain(value):
    return value
  raise PickleError(f"a {type(value).__name__} is used as a key")


def _is_plain(value: Any) -> bool:
  if isinstance(value, int):
    return value.bit_length() <= 128
  return isinstance(value, (str, bytes, float, type(None), Global, Placeholder))


CONSTANTS = {
  *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
  *("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
  *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
}


class _Machine:
  """The stack, the marks and the memo."""

  def __init__(self, builders, persistent, seen):
    self.builders, self.persistent, self.seen = builders, persistent, seen
    self.stack: list = []
    self.marks: list[list] = []
    self.memo: dict[int, Any] = {}
    self.result: Any = None
    self.copied = 0

  def step(self, name: str, argument: Any) -> None:
    stack = self.stack
    if name in CONSTANTS:
      stack.append(argument)
      return
    match name:
      case "BINPUT" | "LONG_BINPUT" | "PUT":
        self.memo[argument] = stack[-1]
      case "MEMOIZE":
        self.memo[len(self.memo)] = stack[-1]
      case "BINGET" | "LONG_BINGET" | "GET":
        stack.append(self.memo[argument])
      case "MARK":
        self.marks.append(stack)
        self.stack = []
      case "TUPLE":
        items = self.pop_mark()
        self.stack.append(tuple(items))
      case "EMPTY_TUPLE":
        stack.append(())
      case "TUPLE1":
        stack[-1] = (stack[-1],)
      case "TUPLE2":
        stack[-2:] = [(stack[-2], stack[-1])]
      case "TUPLE3":
        stack[-3:] = [(stack[-3], stack[-2], stack[-1])]
      case "BINPERSID":
        stack.append(self.load_persistent(stack.pop()))
      case "PERSID":
        stack.append(self.load_persistent(argument))
      case "REDUCE":
        arguments = stack.pop()
        stack.append(self.call(stack.pop(), arguments))
      case "NEWFALSE":
        stack.append(False)
      case "NEWTRUE":
        stack.append(True)
      case "NONE":
        stack.append(None)
      case "GLOBAL":
        stack.append(self.find(*argument.split(" ", 1)))
      case "STACK_GLOBAL":
        attribute, module = stack.pop(), stack.pop()
        stack.append(self.find(module, attribute))
      case "EMPTY_DICT":
        stack.append({})
      case "DICT":
        items = self.pop_mark()
        self.stack.append({})
        self.set_items(items)
      case "SETITEM":
        value, key = stack.pop(), stack.pop()
        self.set_items([key, value])
      case "SETITEMS":
        self.set_items(self.pop_mark())
      case "EMPTY_LIST":
        stack.append([])
      case "LIST":
        items = self.pop_mark()
        self.stack.append(items)
      case "APPEND":
        self.append([stack.pop()])
      case "APPENDS":
        self.append(self.pop_mark())
      case "EMPTY_SET":
        stack.append(set())
      case "FROZENSET":
        items = self.pop_mark()
        self.stack.append(frozenset(map(_key, items)))
      case "ADDITEMS":
        items = self.pop_mark()
        if not isinstance(self.stack[-1], set):
          raise PickleError("members are added to something that is not a set")
        self.stack[-1].update(map(_key, items))
      case "BUILD":
        self.build(stack.pop())
      case "NEWOBJ":
        arguments = stack.pop()
        stack.append(self.call(stack.pop(), arguments))
      case "NEWOBJ_EX":
        keywords, arguments = stack.pop(), stack.pop()
        stack.append(self.call(stack.pop(), arguments, keywords))
      case "INST":
        arguments = self.pop_mark()
        self.stack.append(self.call(self.find(*argument.split(" ", 1)), tuple(arguments)))
      case "OBJ":
        kind, *arguments = self.pop_mark()
        self.stack.append(self.call(kind, tuple(arguments)))
      case "EXT1" | "EXT2" | "EXT4":
        stack.append(self.find("copyreg", f"extension {argument}"))
      case "POP":
        if stack:
          stack.pop()
        else:
          self.pop_mark()
      case "POP_MARK":
        self.pop_mark()
      case "DUP":
        stack.append(stack[-1])
      case "PROTO":
        if argument > 5:
          raise PickleError(f"pickle protocol {argument} is not known")
      case "FRAME":
        pass
      case "STOP":
        self.result = stack.pop()
      case _:
        raise PickleError(f"opcode {name} has no place in a checkpoint")

  def pop_mark(self) -> list:
    items, self.stack = self.stack, self.marks.pop()
    return items

  def find(self, module: Any, name: Any) -> Global:
    if not isinstance(module, str) or not isinstance(name, str):
      raise PickleError("a global's name is not text")
    if len(module) + len(name) > NAME:
      raise PickleError("a global's name is longer than any in a checkpoint")
    found = Global(module, name)
    self.seen.add(found)
    return found

  def load_persistent(self, identity: Any) -> Any:
    if self.persistent is None:
      raise PickleError("a persistent id where there should be none")
    return self.persistent(identity)

  def call(self, kind: Any, arguments: Any, keywords: Any = None) -> Any:
    if not isinstance(arguments, tuple):
      raise PickleError("a call's arguments are not a tuple")
    if isinstance(kind, Placeholder):
      return Placeholder(f"call of {kind.kind}"[:200], arguments)
    if not isinstance(kind, Global):
      raise PickleError(f"a {type(kind).__name__} is called")
    if is_hostile(kind):
      raise PickleError(f"it tries to call {kind}; nothing was run, do not trust this file")
    builder = self.builders.get(kind)
    if builder is None:
      return Placeholder(str(kind), arguments if keywords is None else (*arguments, keywords))
    # A builder copies its argument, and the memo can bring that back any number of times.
    self.copied += sum(len(a) for a in arguments if isinstance(a, (str, list, tuple, set, dict)))
    if self.copied > LIMIT:
      raise PickleError("the pickle makes more copies than any checkpoint's")
    return builder(arguments)

  def build(self, state: Any) -> None:
    built = self.stack[-1]
    if isinstance(built, Placeholder):
      built.state = state
    elif isinstance(built, Global):
      raise PickleError(f"it tries to change {built}; nothing was changed, do not trust this file")
    # Attributes of what is built here (an OrderedDict's _metadata, say) carry no weights.

  def set_items(self, items: list) -> None:
    if len(items) % 2:
      raise PickleError("a key has no value")
    target = self.stack[-1]
    if isinstance(target, Placeholder):
      target.items += zip(items[::2], items[1::2], strict=True)
    elif isinstance(target, dict):
      for key, value in zip(items[::2], items[1::2], strict=True):
        target[_key(key)] = value
    else:
      raise PickleError(f"items are set in a {type(target).__name__}")

  def append(self, items: list) -> None:
    target = self.stack[-1]
    if isinstance(target, Placeholder):
      target.items += items
    elif isinstance(target, list):
      target += items
    else:
      raise PickleError(f"items are appended to a {type(target).__name__}")
