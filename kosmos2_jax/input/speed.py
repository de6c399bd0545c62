"""How fast the input is: the whole stream, and each of its stages.

Time is that of the processor, summed over all threads: what a batch costs,
not how long it is waited for.
"""

import collections
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from kosmos2_jax.input import image_ops, pipeline, recipes
from kosmos2_jax.input.costs import (
  IDLE_SECONDS,
  Cost,
  measure,
  medians,
  resident_mebibytes,
  rest,
  settle,
)
from kosmos2_jax.input.peer import Theirs
from kosmos2_jax.input.rows import read_examples
from kosmos2_jax.input.sources import Source
from kosmos2_jax.text.tokenizer import Tokenizer

STAGES = ("read", "text", "pack", "decode", "resize", "normalise")
KINDS = ("grounded_caption", "plain_caption", "referring")
FAST = "grounded_caption, fast_decode"


class Options(NamedTuple):
  """The numbers of the stream that is measured.

  Attributes:
    tokenizer: writes the text, of both sides.
    image_size: side of the pictures.
    num_latents: slots of a picture.
    seq_len: length of the rows.
    per_step: examples of a batch.
    num_steps: batches of one measurement.
    num_threads: threads that decode.
  """

  tokenizer: Tokenizer
  image_size: int = 224
  num_latents: int = 64
  seq_len: int = 192
  per_step: int = 32
  num_steps: int = 4
  num_threads: int = 1


class Ours:
  """The stream of one kind."""

  def __init__(
    self,
    source: Source,
    options: Options,
    *,
    kind: str = "grounded_caption",
    fast_decode: bool = False,
  ):
    """Opens the stream; `kind` is one of `KINDS`."""
    more = {"items": "noun_chunks"} if kind == "referring" else {}
    recipe = recipes.RECIPES[kind](**more)
    self._options = options
    self._stream = pipeline.make_stream(
      [pipeline.Kind(kind, source, recipe, options.per_step)],
      tokenizer=options.tokenizer,
      image_size=options.image_size,
      num_latents=options.num_latents,
      seq_len=options.seq_len,
      fast_decode=fast_decode,
      num_threads=options.num_threads,
    )
    next(self._stream)
    settle()

  def run(self) -> Cost:
    """Some batches.

    Batches made ahead are full before and after, so that as many are made as
    are taken.
    """

    def take() -> None:
      for _ in range(self._options.num_steps):
        next(self._stream)
      settle()

    # Waiting for quiet is time of the clock, not of the processor.
    cost = measure(take, self._options.per_step * self._options.num_steps)
    idle = 1e3 * IDLE_SECONDS / self._options.per_step
    return cost._replace(wall=cost.wall - idle / self._options.num_steps)

  def close(self) -> None:
    """Ends its threads."""
    self._stream.close()


class Stages:
  """The parts of a stream, one after the other and without its threads."""

  def __init__(self, source: Source, options: Options):
    """Makes the first batches of grounded captions again and again."""
    kind = pipeline.Kind(
      "grounded_caption", source, recipes.grounded_caption(), options.per_step
    )
    self._stream = pipeline.make_stream(
      [kind],
      tokenizer=options.tokenizer,
      image_size=options.image_size,
      num_latents=options.num_latents,
      seq_len=options.seq_len,
    )
    self._maker = self._stream._maker
    self._per_step = options.per_step
    self._step = 0
    pictures = [picture for _, picture in self._maker.pictures(0)]
    size = options.image_size
    # One thread each, as in the stream, and nothing but a number comes out.
    look = [
      image_ops.decode,
      lambda image: image_ops.view(image, size, "crop"),
      image_ops.normalize,
    ]
    self._chains = [_chain(pictures, look[:count]) for count in (1, 2, 3)]
    for chain in self._chains:
      next(chain)

  def run(self) -> dict[str, Cost]:
    """A batch, by stage."""
    self._step += 1
    maker, count = self._maker, self._per_step
    layout = maker.layout
    slots = maker.schedule.slots(self._step, layout.examples(range(count)))
    examples = []
    read = measure(lambda: examples.extend(read_examples(slots)), count)
    text = measure(lambda: list(map(maker.write, slots, examples)), count)
    rows = measure(lambda: maker.rows(self._step), count)
    decode, view, everything = (
      measure(lambda chain=chain: [next(chain) for _ in range(count)], count)
      for chain in self._chains
    )
    costs = (
      read,
      text,
      # All of a step's rows but what was measured by itself.
      rest(rows, read, text),
      decode,
      rest(view, decode),
      rest(everything, view),
    )
    return dict(zip(STAGES, costs, strict=True))


def _chain(
  pictures: Sequence[bytes], functions: Sequence[Callable]
) -> Iterator[Any]:
  """Runs functions after each other, for a picture at every `next`."""
  options = tf.data.Options()
  options.autotune.enabled = False
  options.threading.private_threadpool_size = 1
  options.threading.max_intra_op_parallelism = 1
  dataset = tf.data.Dataset.from_tensor_slices(list(pictures))

  @tf.autograph.experimental.do_not_convert
  def run(value: tf.Tensor) -> tf.Tensor:
    for function in functions:
      value = function(value)
    return value[0, 0, 0]

  dataset = dataset.repeat().map(run).with_options(options)
  return dataset.as_numpy_iterator()


def measure_memory(
  source: Source, options: Options, examples: int, every: int = 1000
) -> list[tuple[int, float]]:
  """What the process holds while a stream runs.

  Returns:
    Examples so far and MiB of resident memory, after each `every` of them.
  """
  result = []
  if not examples:
    return result
  ours = Ours(source, options)
  done = 0
  while done < examples:
    while done < every * (len(result) + 1):
      ours.run()
      done += options.per_step * options.num_steps
    result.append((done, resident_mebibytes()))
  ours.close()
  return result


def measure_all(
  sources: Mapping[str, Source],
  options: Options,
  *,
  repeats: int,
  folder: str | None,
) -> dict[str, Mapping[str, Cost]]:
  """Measures everything, in turns.

  Args:
    sources: the same examples with pictures of several sizes, by the name of
      the size; the first are the originals.
    options: of the stream.
    repeats: measurements of each case; medians are given.
    folder: processor of `transformers`; None leaves it out.

  Returns:
    "ours" and "theirs" by case, and the stages by size.
  """
  original, *smaller = sources
  ours = {
    f"{original}, {kind}": Ours(sources[original], options, kind=kind)
    for kind in KINDS
  }
  ours[f"{original}, {FAST}"] = Ours(
    sources[original], options, fast_decode=True
  )
  ours |= {size: Ours(sources[size], options) for size in smaller}
  theirs = {}
  if folder:
    for size, source in sources.items():
      theirs[size] = Theirs(
        folder,
        source.__getitems__(range(len(source))),
        per_step=options.per_step,
        num_steps=options.num_steps,
        seq_len=options.seq_len,
      )
  stages = {size: Stages(source, options) for size, source in sources.items()}
  found = collections.defaultdict(lambda: collections.defaultdict(list))
  for _ in range(repeats):
    for side, cases in (("ours", ours), ("theirs", theirs)):
      for name, case in cases.items():
        found[side][name].append(case.run())
    for size, stage in stages.items():
      for name, cost in stage.run().items():
        found[size][name].append(cost)
  for case in ours.values():
    case.close()
  return {
    where: {name: medians(costs) for name, costs in of_case.items()}
    for where, of_case in found.items()
  }
