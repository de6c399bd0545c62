"""Numbers of a config for the machines it was compiled for."""

from ml_collections import ConfigDict

# Machines for which a config has numbers that were compiled for them: devices
# along `data`, `fsdp` and `tensor`, rows that they share evenly, pictures a row
# (fewer than where rows are few: they are spread over more of them), what is
# computed again, and parts of a batch. See `on_mesh`.
MESHES: dict[str, tuple[tuple[int, int, int], int, int, str, int]] = {
  # Parameters cut in 16, one side of the torus: in 256 parts they are thinner
  # than a register, and XLA then sends twice what it gathers.
  "v5e-256": ((16, 16, 1), 256, 16, "dots", 1),
  # Named by its cores: 64 chips.
  "v5p-128": ((4, 16, 1), 256, 16, "dots", 1),
  "v6e-256": ((16, 16, 1), 256, 16, "dots", 1),
  # Two slices. A row is shared by two chips, or half of 512 rows were empty.
  "2xv6e-256": ((16, 16, 2), 256, 16, "dots", 1),
  "8xh100": ((1, 8, 1), 8, 0, "dots", 2),
}


def on_mesh(config: ConfigDict, name: str) -> None:
  """Changes a config of packed rows for one of `MESHES`.

  The examples of a step stay what they are. Their rows become more, if they
  must, until the devices share them evenly; the room that is left in them is
  computed and of no use.

  Raises:
    ValueError: for a name that there is not.
  """
  if name not in MESHES:
    raise ValueError(
      f"there is no mesh {name!r}; choose one of {', '.join(MESHES)}"
    )
  sizes, multiple, pictures, remat, parts = MESHES[name]
  config.mesh.data, config.mesh.fsdp, config.mesh.tensor = sizes
  config.model.remat = remat
  config.num_microbatches = parts
  multiple *= parts
  rows = config.data.rows_per_step
  config.data.rows_per_step = multiple * -(-rows // multiple)
  if pictures and config.data.images_per_row:
    config.data.images_per_row = min(config.data.images_per_row, pictures)
