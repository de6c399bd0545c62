"""The sections every run's config has, and what each field means.

A config file defines `get_config(arg="")`, starts from `base()` and changes
fields. Every field can be changed on the command line, for example
`--config.optimizer.learning_rate=1e-3` or
`--config.data.kinds[0].per_step=16`; a name that is not here is an error.
What comes after a colon, as in `--config=configs/shapes.py:batch=8,tiny`, is
read by `parse_arg`.
"""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from kosmos2_jax.models import presets


def parse_arg(arg: str, **defaults: Any) -> ConfigDict:
  """Reads `name=value,flag` into a ConfigDict typed by `defaults`.

  A bare name sets a boolean to True. Raises ValueError, listing the names
  there are, for an unknown name or a value that is not of its default's type.
  """
  result = ConfigDict(defaults)
  for item in filter(None, arg.split(",")):
    name, has_value, value = item.partition("=")
    if name not in defaults:
      raise ValueError(
        f"the config has no argument {name!r}; it takes"
        f" {sorted(defaults) or 'none'}"
      )
    kind = type(defaults[name])
    if kind is bool:
      if has_value and value not in ("true", "false"):
        raise ValueError(
          f"config argument {name!r} is true or false, found {value!r}"
        )
      result[name] = value != "false"
      continue
    try:
      result[name] = kind(value)
    except ValueError:
      raise ValueError(
        f"config argument {name!r} is of type {kind.__name__}, found {value!r}"
      ) from None
  return result


def kind(
  name: str,
  dataset: str,
  recipe: str,
  per_step: int,
  *,
  split: str = "train",
  **options: Any,
) -> ConfigDict:
  """One data kind: examples of one dataset made into rows in one way.

  name      unique name of the kind; keys its shuffling, names it in logs
  dataset   folder under `data/`
  split     split of that dataset
  recipe    function of `kosmos2_jax.input.recipes`
  per_step  examples of this kind in every step; the batch has a row for each
            unless they are packed (`data.pack`)
  options   keyword arguments of the recipe
  """
  return ConfigDict(
    {
      "name": name,
      "dataset": dataset,
      "split": split,
      "recipe": recipe,
      "per_step": per_step,
      "options": options,
    }
  )


def evaluation(
  name: str,
  dataset: str,
  split: str,
  *,
  evaluator: str,
  num_examples: int,
  final_examples: int | None = None,
  where: str = "",
  **options: Any,
) -> ConfigDict:
  """One evaluation.

  name            prefix of its scores in logs and `results.json`
  dataset, split  where the examples come from, in the order of the split
  evaluator       name in `kosmos2_jax.evals.EVALUATORS`
  num_examples    how many examples while training (0: only at the end)
  final_examples  how many at the end (-1: the whole split); default: as many
                  as while training
  where           a field; only examples that have it, and not empty, count
  options         keyword arguments of the evaluator
  """
  if final_examples is None:
    final_examples = num_examples
  return ConfigDict(
    {
      "name": name,
      "dataset": dataset,
      "split": split,
      "evaluator": evaluator,
      "num_examples": num_examples,
      "final_examples": final_examples,
      "where": where,
      "options": options,
    }
  )


def group(
  pattern: str, *, scale: float = 1.0, weight_decay: float | None = None
) -> ConfigDict:
  """Parameters that the optimizer treats in a way of their own.

  pattern       regular expression, found in their paths: `^resampler/`
  scale         times the learning rate
  weight_decay  instead of the optimizer's; default: the optimizer's
  """
  fields = {"pattern": pattern, "scale": scale}
  if weight_decay is not None:
    fields["weight_decay"] = weight_decay
  return ConfigDict(fields)


def base(preset: str) -> ConfigDict:
  """The sections with their defaults, and the named model of presets.py."""
  config = ConfigDict()
  # Every random number of the run comes from (seed, step or example index).
  config.seed = 0
  # Updates of the whole run, those before a restart included.
  config.num_steps = 1000
  # Parts a global batch is computed in, one after the other: the same update
  # in less memory.
  config.num_microbatches = 1
  # A checkpoint whose weights, sizes and tokenizer a fresh run starts with: a
  # Hugging Face folder of Kosmos-2, the original's kosmos-2.pt or a workdir;
  # "" for random numbers (see docs/training.md).
  config.init_from = ""
  # What is to be another than in that checkpoint.
  config.resize = _resize()
  # A CLIP file or folder whose vision encoder a fresh run starts with; "" for
  # random numbers (see docs/training.md).
  config.vision_from = ""
  config.model = _model(presets.preset(preset))
  config.data = _data()
  config.optimizer = _optimizer()
  config.lora = _lora()
  config.mesh = _mesh()
  config.checkpoint = _checkpoint()
  config.evals = _evals()
  # Steps between two lines of metrics.
  config.log_every = 50
  # Project of Weights & Biases that gets them too; "" for none.
  config.wandb = ""
  # Steps between two checkpoints; the last step is always saved.
  config.save_every = 1000
  # Minutes between two checkpoints, whatever the step; 0: steps alone decide.
  config.save_every_minutes = 0.0
  # A step whose loss or gradient is not finite, or whose loss is a spike:
  # "stop" ends the run, "skip" goes on without its update.
  config.on_nonfinite = "stop"
  # More skipped steps in a row than these end the run.
  config.max_skips = 10
  # A loss above this times the decaying mean of the losses before is a spike;
  # 0: none is.
  config.spike_factor = 0.0
  return config


def _resize() -> ConfigDict:
  """Of the checkpoint that a run starts from (see docs/finetuning.md)."""
  resize = ConfigDict()
  # Location bins per side; 0: as many as it has.
  resize.num_bins = 0
  # Side of a picture in pixels, a multiple of its patches; 0: its own.
  resize.image_size = 0
  # Words that become a token each, e.g. ("wug", "blicket").
  resize.words = ()
  return resize


def _model(sizes: Mapping[str, Any]) -> ConfigDict:
  """Sizes by section (`vision`, `resampler`, `decoder`) as in presets.py.

  `image_size` and `num_bins` hold for the data too: pictures are brought to
  that size, and boxes to that many bins a side.
  """
  model = ConfigDict(dict(sizes))
  # 0: as many rows as the tokenizer has ids.
  model.vocab_size = 0
  # True: the decoder alone, for batches without pictures; vision and resampler
  # have no parameters then.
  model.text_only = False
  # Numbers the model computes with: "float32" or "bfloat16". Parameters,
  # softmax, norms and the loss are float32 in either case.
  model.dtype = "float32"
  # How attention is computed: "xla", "splash" (TPU), "cudnn" (NVIDIA GPU, with
  # bfloat16), or "auto", the best of them for the devices (docs/training.md).
  model.attention = "auto"
  # What of a layer is computed again in the backward pass, for less memory and
  # more time, from nothing to everything: "none", "dots" (all but products),
  # "attention" (the MLP), "offload" (the same, kept on the host), "heads" (all
  # but what attention returns), "full" (see docs/training.md).
  model.remat = "none"
  # Layers that one iteration of the loop over layers runs. A number as large
  # as the depth compiles longer and runs twice as fast on a CPU.
  model.unroll = 1
  # Targets whose logits exist at once on a device (see training.md, "The loss
  # in chunks"); more need more memory and run faster on accelerators.
  model.loss_chunk = 256
  return model


def _data() -> ConfigDict:
  data = ConfigDict()
  # Where prepared datasets lie; "" is $TFDS_DATA_DIR or ~/tensorflow_datasets.
  data.data_dir = ""
  # "small" is the model that comes with the project; else the path of a
  # SentencePiece model file.
  data.tokenizer = "small"
  # Tokens of a row; what does not fit is left out, and counted.
  data.seq_len = 128
  # Pictures a row has room for; an example with more is left out, and counted.
  data.images_per_row = 1
  # See `kind`.
  data.kinds = ()
  # Packs the examples of a step into `rows_per_step` rows, which see nothing
  # of each other; False: a row for each. `tools.packing` says how many rows
  # and pictures a row a config needs.
  data.pack = False
  data.rows_per_step = 0
  # Parts of a step that are packed by themselves: any number of hosts that
  # divides it makes the same batches.
  data.pack_groups = 1
  # Per dataset: arguments for preparing it (see data/<dataset>/README.md); with
  # `builder`, the folder in data/, the name can be any.
  data.builders = ConfigDict()
  # How a picture becomes a square: "crop" (shorter side to size, centre, boxes
  # follow; as published) or "squash" (as at evaluation: the whole picture).
  data.view = "crop"
  # See `_augmentation`; all off, as published.
  data.augmentation = _augmentation()
  # Decodes large JPEGs to a half, a quarter or an eighth of their sides where
  # that is enough: sooner, with slightly other pixels (see docs/data.md).
  data.fast_decode = False
  # Threads that decode pictures.
  data.num_threads = 2
  return data


def _augmentation() -> ConfigDict:
  """Random changes of every picture; boxes and words follow."""
  augmentation = ConfigDict()
  # Smallest and largest part of the area that is cut out, e.g. (0.5, 1.0); ()
  # leaves the view as it is.
  augmentation.crop_area = ()
  # Smallest and largest width / height of the cut; with the view "squash",
  # times that of the picture.
  augmentation.crop_aspect = (3 / 4, 4 / 3)
  # How often a picture with its English words is mirrored, where they allow it.
  augmentation.flip_probability = 0.0
  # Factors are drawn from 1 - x .. 1 + x.
  augmentation.brightness = 0.0
  augmentation.contrast = 0.0
  augmentation.saturation = 0.0
  return augmentation


def _optimizer() -> ConfigDict:
  """The defaults are the published settings."""
  optimizer = ConfigDict()
  # "adamw", or "muon" for small models from scratch: it needs about half the
  # steps.
  optimizer.algorithm = "adamw"
  # Peak, reached after the warm-up; the first update runs with 0.
  optimizer.learning_rate = 2e-4
  optimizer.warmup_steps = 375
  # After the warm-up: "polynomial", "linear", "cosine", "exponential", "wsd"
  # (stable, then decay), "rsqrt" or "constant" (see docs/training.md).
  optimizer.schedule = "polynomial"
  # Power of "polynomial" and of the decay of "wsd".
  optimizer.power = 1.0
  # Rate at the end of the schedule; "exponential" needs one above 0.
  optimizer.end_learning_rate = 0.0
  # Part of the run in which the rate of "wsd" decays.
  optimizer.decay_fraction = 0.1
  optimizer.b1 = 0.9
  optimizer.b2 = 0.98
  optimizer.eps = 1e-6
  optimizer.weight_decay = 0.01
  # "all" decays every parameter, "matrices" neither biases nor norms.
  optimizer.decay_mask = "all"
  # Largest global L2 norm of the gradient; 0 leaves it as it is.
  optimizer.clip_norm = 2.0
  # Regular expressions; parameters in whose paths one is found stay as they
  # are, e.g. ("^vision/", "^decoder/").
  optimizer.frozen = ()
  # How much of the vision encoder is trained: -1 all of it, 0 nothing, k its
  # last k layers and the norm behind them.
  optimizer.vision_layers = -1
  # Rates and weight decays of some parameters; the first group that a
  # parameter is in counts. See `group`.
  optimizer.groups = ()
  # Times the learning rate for every vision layer below the last one, again
  # and again; 1 for none, e.g. 0.8.
  optimizer.vision_layer_decay = 1.0
  # Part of an average of the parameters that each update keeps, e.g. 0.9999;
  # 0 for no average. Where there is one it is what is evaluated.
  optimizer.ema_decay = 0.0
  # Shorter averages at the beginning: the part is at most (1 + t) / (10 + t).
  optimizer.ema_warmup = True
  return optimizer


def _lora() -> ConfigDict:
  """Low-rank adapters: they alone are trained (see docs/finetuning.md)."""
  lora = ConfigDict()
  # Directions in which a kernel changes; 0 for no adapters.
  lora.rank = 0
  # The change is multiplied by alpha / rank.
  lora.alpha = 16.0
  # Regular expressions; kernels in whose paths one is found are adapted.
  lora.targets = ("^decoder/",)
  # Regular expressions: parameters that are trained as they are, beside the
  # adapters, e.g. ("^decoder/embedding$",).
  lora.whole = ()
  return lora


def _mesh() -> ConfigDict:
  """Devices along each axis; one of them may be -1: all that are left."""
  mesh = ConfigDict()
  # Copies of the model, each with its share of the batch.
  mesh.data = -1
  # Devices that share the parameters as well as the batch.
  mesh.fsdp = 1
  # Devices that share attention heads, MLP and vocabulary.
  mesh.tensor = 1
  # Slices that a slower network joins; `data` is a multiple of it. 0: as the
  # devices say, which those of TPUs do.
  mesh.num_slices = 0
  return mesh


def _checkpoint() -> ConfigDict:
  checkpoint = ConfigDict()
  # How many of the newest are kept.
  checkpoint.keep = 2
  # Score whose best checkpoint is kept as well, e.g. "rec/accuracy"; "" for
  # none. It is saved after each evaluation.
  checkpoint.best_metric = ""
  # "max" or "min" is best.
  checkpoint.best_mode = "max"
  # Evaluations without a better score after which the run ends; the best
  # checkpoint is then the one that is used. 0: the run goes to its end.
  checkpoint.patience = 0
  # Looks at every byte again when a checkpoint is written and restored; False:
  # at names and sizes of its files, for checkpoints that take too long to read.
  checkpoint.checksums = True
  return checkpoint


def _evals() -> ConfigDict:
  evals = ConfigDict()
  # Steps between two evaluations while training; 0: only at the end.
  evals.every_steps = 0
  # See `evaluation`; all of them are run at the end.
  evals.tasks = ()
  # Questions asked at once.
  evals.batch_size = 64
  # Pictures drawn in predictions.png, and for TensorBoard at each evaluation; a
  # third of them is kept, to be seen over time in report.html.
  evals.num_pictures = 16
  return evals
