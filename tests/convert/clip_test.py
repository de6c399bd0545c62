"""CLIP's vision encoder: the features of `transformers`, from every layout."""

import copy
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from kosmos2_jax import optim, sharding
from kosmos2_jax.convert import clip, fairseq, mapping, transfer, weights
from kosmos2_jax.models import presets
from kosmos2_jax.models.vision import VisionEncoder
from kosmos2_jax.training import state as state_lib
from tests.convert.samples import clip_folder, random_params

SIZES = {
  "odd sizes": {
    "image_size": 21,
    "patch_size": 7,
    "width": 24,
    "depth": 3,
    "mlp_dim": 50,
    "num_heads": 3,
  },
  # 64 channels a head, as everywhere where heads are not written down.
  "openai": {
    "image_size": 12,
    "patch_size": 4,
    "width": 128,
    "depth": 2,
    "mlp_dim": 72,
    "num_heads": 2,
  },
}


def _theirs(sizes, kind="CLIPVisionModel", seed=0):
  """A CLIP of transformers with random entries in every array."""
  torch = pytest.importorskip("torch", reason="needs torch")
  transformers = pytest.importorskip("transformers", reason="needs it")
  config = transformers.CLIPVisionConfig(
    hidden_size=sizes["width"],
    num_hidden_layers=sizes["depth"],
    intermediate_size=sizes["mlp_dim"],
    num_attention_heads=sizes["num_heads"],
    image_size=sizes["image_size"],
    patch_size=sizes["patch_size"],
    projection_dim=10,
  )
  if kind == "CLIPModel":
    text = transformers.CLIPTextConfig(
      hidden_size=16,
      num_hidden_layers=1,
      intermediate_size=20,
      num_attention_heads=2,
      vocab_size=50,
      bos_token_id=0,
      eos_token_id=2,
    )
    config = transformers.CLIPConfig(
      text_config=text.to_dict(),
      vision_config=config.to_dict(),
      projection_dim=10,
    )
  torch.manual_seed(seed)
  model = getattr(transformers, kind)(config).eval()
  with torch.no_grad():
    for name, value in model.named_parameters():
      noise = torch.randn_like(value)
      # Larger than initial weights, so that every layer matters.
      norm = name.endswith("weight") and value.ndim == 1
      value.copy_(
        1 + 0.3 * noise
        if norm
        else 2 * noise / (value.shape or (1,))[-1] ** 0.5
      )
  return model


def _encoder(model):
  return getattr(model, "vision_model", model)


def _openai(model):
  """The arrays of a CLIP of transformers as OpenAI writes them."""
  arrays = {n: v.numpy() for n, v in _encoder(model).state_dict().items()}
  out = {
    "visual.class_embedding": arrays["embeddings.class_embedding"],
    "visual.positional_embedding": arrays[
      "embeddings.position_embedding.weight"
    ],
    "visual.conv1.weight": arrays["embeddings.patch_embedding.weight"],
    "visual.proj": np.zeros((arrays["post_layernorm.bias"].size, 10)),
    # The text tower, and what OpenAI keeps beside the weights.
    "transformer.resblocks.0.ln_1.weight": np.ones(16),
    "token_embedding.weight": np.zeros((50, 16)),
    "positional_embedding": np.zeros((7, 16)),
    "ln_final.weight": np.ones(16),
    "text_projection": np.zeros((16, 10)),
    "logit_scale": np.array(2.5),
    "input_resolution": np.array(12),
    "context_length": np.array(7),
    "vocab_size": np.array(50),
  }
  for suffix in ("weight", "bias"):
    out[f"visual.ln_pre.{suffix}"] = arrays[f"pre_layrnorm.{suffix}"]
    out[f"visual.ln_post.{suffix}"] = arrays[f"post_layernorm.{suffix}"]
    for i in range(_encoder(model).config.num_hidden_layers):
      theirs, ours = (
        f"encoder.layers.{i}.",
        f"visual.transformer.resblocks.{i}.",
      )
      out[f"{ours}attn.in_proj_{suffix}"] = np.concatenate(
        [arrays[f"{theirs}self_attn.{part}_proj.{suffix}"] for part in "qkv"]
      )
      for one, other in (
        ("attn.out_proj", "self_attn.out_proj"),
        ("ln_1", "layer_norm1"),
        ("ln_2", "layer_norm2"),
        ("mlp.c_fc", "mlp.fc1"),
        ("mlp.c_proj", "mlp.fc2"),
      ):
        out[f"{ours}{one}.{suffix}"] = arrays[f"{theirs}{other}.{suffix}"]
  return {name: np.ascontiguousarray(array) for name, array in out.items()}


def _write(path, arrays):
  """Writes a `.safetensors`, or with torch anything else."""
  if path.suffix == ".safetensors":
    save_file(arrays, path)
  else:
    torch = pytest.importorskip("torch", reason="needs torch")
    torch.save({n: torch.tensor(a) for n, a in arrays.items()}, path)
  return path


def _assert_same_features(path, sizes, model):
  """Compares with the features of `transformers`, of all tokens."""
  import torch

  params, dropped = clip.load(path, sizes)
  assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {
    np.dtype("float32")
  }
  size = sizes["image_size"]
  images = np.random.default_rng(0).normal(size=(2, size, size, 3))
  images = images.astype(np.float32)
  ours = VisionEncoder(**sizes).apply({"params": params}, jnp.asarray(images))
  encoder = _encoder(model)
  with torch.no_grad():
    pixels = torch.tensor(images.transpose(0, 3, 1, 2))
    hidden = encoder(pixel_values=pixels).last_hidden_state
    theirs = encoder.post_layernorm(hidden).numpy()
  assert np.abs(ours - theirs).max() < 2e-5 * np.ptp(theirs)
  return dropped


@pytest.mark.parametrize(
  ("kind", "dropped"),
  [
    ("CLIPVisionModel", 0),
    ("CLIPVisionModelWithProjection", 1),
    ("CLIPModel", 2),
  ],
)
def test_folders_of_hugging_face(tmp_path, kind, dropped):
  sizes = SIZES["odd sizes"]
  model = _theirs(sizes, kind)
  model.save_pretrained(tmp_path)
  lines = _assert_same_features(tmp_path, sizes, model)
  assert len(lines) == dropped


def test_a_folder_of_several_files_in_half_precision(tmp_path):
  sizes = SIZES["odd sizes"]
  model = _theirs(sizes, "CLIPModel").half()
  model.save_pretrained(tmp_path, max_shard_size="10KB")
  assert (tmp_path / weights.INDEX_FILE).exists()
  _assert_same_features(tmp_path, sizes, model.float())


def test_a_folder_of_an_earlier_release(tmp_path):
  sizes = SIZES["odd sizes"]
  model = _theirs(sizes)
  model.save_pretrained(tmp_path)
  file = tmp_path / weights.WEIGHTS_FILE
  arrays = {f"vision_model.{n}": v for n, v in load_file(file).items()}
  positions = "vision_model.embeddings.position_ids"
  save_file({**arrays, positions: np.arange(10)[None]}, file)
  config = json.loads((tmp_path / "config.json").read_text())
  early = {
    "model_type": "clip",
    # These were written in part; the second section holds.
    "vision_config": {"model_type": "clip_vision_model", "hidden_size": 768},
    "vision_config_dict": {
      name: value
      for name, value in config.items()
      if name.endswith(("size", "layers", "heads"))
    },
  }
  (tmp_path / "config.json").write_text(json.dumps(early))
  lines = _assert_same_features(tmp_path, sizes, model)
  assert lines == [f"{positions}: 0, 1, 2, …"]


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize(
  "name", ["clip.pt", "open_clip_pytorch_model.bin", "clip.safetensors"]
)
def test_files_of_openai(tmp_path, name, half):
  sizes = SIZES["openai"]
  model = _theirs(sizes)
  if half:
    model = model.half()
  path = _write(tmp_path / name, _openai(model))
  lines = _assert_same_features(path, sizes, model.float())
  assert len(lines) == 3
  assert lines[0].endswith("and 7 more: of the text tower")
  assert lines[2].startswith("visual.proj: the projection")


@pytest.fixture
def arrays():
  """A file of OpenAI's in memory, made without torch."""
  sizes = {**presets.preset("tiny"), "vision": SIZES["openai"]}
  params = random_params(sizes)[1]["vision"]
  split = dict(transfer.export({"vision": copy.deepcopy(params)}, 0, "openai"))
  fused = {n: a for n, a in split.items() if not n.endswith("]")}
  for name in split:
    if name.endswith("[q]"):
      base = name.removesuffix("[q]")
      fused[base] = np.concatenate([split[f"{base}[{p}]"] for p in "qkv"])
  return params, fused


def test_arrays_are_as_openai_shapes_them(arrays):
  layer = "visual.transformer.resblocks.1"
  assert len(arrays[1]) == 7 + 2 * 12
  for name, shape in {
    f"{layer}.attn.in_proj_weight": (384, 128),
    f"{layer}.attn.in_proj_bias": (384,),
    f"{layer}.attn.out_proj.weight": (128, 128),
    f"{layer}.mlp.c_proj.weight": (128, 72),
    "visual.ln_post.bias": (128,),
  }.items():
    assert arrays[1][name].shape == shape, name


def test_every_parameter_is_the_files(tmp_path, arrays):
  params, fused = arrays
  path = _write(tmp_path / "clip.safetensors", fused)
  found, dropped = clip.load(path, SIZES["openai"])
  jax.tree.map(np.testing.assert_array_equal, found, params)
  assert not dropped


def test_missing_extra_and_misshapen_arrays_are_listed(tmp_path, arrays):
  fused = arrays[1]
  layer = "visual.transformer.resblocks.1"
  del fused["visual.ln_pre.bias"]
  fused["visual.attn_pool.query"] = np.zeros(3, np.float32)
  for name in ("attn.in_proj_weight", "attn.in_proj_bias"):
    fused[f"{layer}.{name}"] = fused[f"{layer}.{name}"][:-1]
  path = _write(tmp_path / "clip.safetensors", fused)
  with pytest.raises(ValueError) as caught:
    clip.load(path, SIZES["openai"])
  text = str(caught.value)
  assert str(path) in text
  assert "1 missing: visual.ln_pre.bias" in text
  assert "1 without a place here: visual.attn_pool.query" in text
  assert f"{layer}.attn.in_proj_weight[v] has shape (127, 128), expec" in text
  assert f"{layer}.attn.in_proj_bias[v] has shape (127,), expected" in text


def test_another_size_is_one_sentence(tmp_path, arrays):
  path = _write(tmp_path / "clip.safetensors", arrays[1])
  sizes = {**SIZES["openai"], "image_size": 16, "num_heads": 4, "stem": "conv"}
  with pytest.raises(ValueError) as caught:
    clip.load(path, sizes)
  assert str(caught.value) == (
    f"the vision encoder of {str(path)!r} has image_size 12 and not 16,"
    " num_heads 2 and not 4, stem patch and not conv as the model: set"
    " --config.model.vision.image_size=12 --config.model.vision.num_heads=2"
    " --config.model.vision.stem=patch, or give another CLIP"
  )


@pytest.mark.parametrize(
  ("width", "num_heads"), [(768, 12), (1024, 16), (1280, 16), (1664, 16)]
)
def test_heads_follow_from_the_width(tmp_path, width, num_heads):
  shapes = {
    "visual.conv1.weight": (width, 3, 14, 14),
    "visual.positional_embedding": (257, width),
    "visual.transformer.resblocks.0.mlp.c_fc.bias": (width * 4,),
  }
  arrays = {n: np.zeros(s, np.float16) for n, s in shapes.items()}
  path = _write(tmp_path / "clip.safetensors", arrays)
  found = fairseq.vision_sizes(weights.SafetensorsFile(path), "visual.", "CLIP")
  assert found == {
    "image_size": 224,
    "patch_size": 14,
    "width": width,
    "depth": 1,
    "mlp_dim": width * 4,
    "num_heads": num_heads,
  }


def test_what_is_no_clip(tmp_path):
  sizes = SIZES["openai"]
  with pytest.raises(
    FileNotFoundError, match="there is no .*; give weights of"
  ):
    clip.load(tmp_path / "none.pt", sizes)
  with pytest.raises(FileNotFoundError, match=r"has no config\.json; give"):
    clip.load(tmp_path, sizes)
  config = tmp_path / "config.json"
  config.write_text('{"model_type": "siglip"}')
  with pytest.raises(ValueError, match="model type 'siglip'; expected one of"):
    clip.load(tmp_path, sizes)
  config.write_text(
    '{"model_type": "clip", "vision_config": {"hidden_act": 1}}'
  )
  with pytest.raises(
    ValueError, match=r"vision_config\.hidden_act in .* is 1;"
  ):
    clip.load(tmp_path, sizes)
  (tmp_path / "clip.npz").write_bytes(b"")
  with pytest.raises(ValueError, match="of no known kind; give weights of"):
    clip.load(tmp_path / "clip.npz", sizes)
  (tmp_path / "cut.safetensors").write_bytes(b"1234")
  with pytest.raises(ValueError, match="is no complete safetensors file"):
    clip.load(tmp_path / "cut.safetensors", sizes)
  # Of Hugging Face, but without its config.json.
  other = {"vision_model.pre_layrnorm.bias": np.zeros(3)}
  path = _write(tmp_path / "model.safetensors", other)
  with pytest.raises(
    ValueError, match="no CLIP transformer .* give the folder"
  ):
    clip.load(path, sizes)


@pytest.mark.filterwarnings("ignore:.torch.jit.:DeprecationWarning")
def test_a_torchscript_archive_is_refused(tmp_path):
  torch = pytest.importorskip("torch", reason="needs torch")
  path = tmp_path / "ViT-L-14.pt"
  torch.jit.script(torch.nn.Linear(2, 2)).save(path)
  with pytest.raises(
    ValueError, match=r"ViT-L-14\.pt' is a TorchScript archive"
  ):
    clip.load(path, SIZES["openai"])


def test_no_name_of_the_encoder_is_dropped():
  vision = [e for e in mapping.TABLE if e.path.startswith("vision/")]
  names = [n for e in vision for n in (e.openai, e.clip, e.clip_vision)]
  assert len(set(names)) == 3 * len(vision) == 3 * 23
  beginnings = sum(mapping.CLIP_DROPPED.values(), ())
  assert not [name for name in names if name.startswith(beginnings)]


@pytest.mark.slow
def test_a_fresh_state_keeps_its_places(tmp_path):
  sizes = presets.preset("tiny")
  vision = clip_folder(tmp_path, sizes)
  model = presets.build(sizes)
  tx = optim.make_optimizer(num_steps=2, learning_rate=1e-2).tx
  mesh = sharding.make_mesh((2, 2, 2))
  abstract = state_lib.abstract_state(model, tx, mesh)
  fresh = state_lib.init_state(model, tx, abstract, 0)
  said = []
  known = clip.start_from(str(tmp_path), sizes, said.append)
  found = state_lib.init_state(model, tx, abstract, 0, known)
  jax.tree.map(np.testing.assert_array_equal, found.params["vision"], vision)
  where = jax.tree.map(lambda leaf: (leaf.sharding, leaf.dtype), found)
  assert where == jax.tree.map(lambda leaf: (leaf.sharding, leaf.dtype), fresh)
  # Some are really in parts, and everything else is what it was.
  query = found.params["vision"]["layers"]["attention"]["query"]["kernel"]
  assert not query.sharding.is_fully_replicated
  for name in ("decoder", "resampler"):
    jax.tree.map(
      np.testing.assert_array_equal, found.params[name], fresh.params[name]
    )
  jax.tree.map(np.testing.assert_array_equal, found.opt_state, fresh.opt_state)
  assert said == [
    f"the vision encoder starts from {tmp_path}",
    "left out of it: visual_projection.weight: "
    "the projection to the text's space; features before it are used",
  ]
  assert clip.start_from("", sizes, said.append) == {}
