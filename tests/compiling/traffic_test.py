"""Bytes to and from memory, and large arrays."""

import pytest

from kosmos2_jax.compiling import hlo, traffic
from tests.compiling import samples

GIB = 2**30


def test_a_fusion_reads_the_layer_that_it_cuts_out():
  program = hlo.parse(samples.LOOP, open_rounds=5)
  gather = 2 * 3 * 64 * 8 + 2 * 3 * 64 * 32
  # Its result stays in the chip's own memory.
  product = 2 * 64 * 32 + 4 + 2 * 16 * 64
  loop = 3 * (gather + product + 1 + 4 + 4)  # and the condition
  open_loop = 5 * (1 + 4 + 4 + 4 + 4)
  reduced = 2 * (2 * 16 * 64) + 4 * 64
  assert traffic.hbm_bytes(program) == loop + open_loop + reduced


def test_a_fusion_in_a_fusion_reads_no_more():
  """The slice is behind another name, in a computation inside."""
  text = samples.LOOP.replace(
    "%inside (p",
    """%outer (p: bf16[3,64,32], i: s32[], x: bf16[16,64]) -> bf16[16,32] {
  %p = bf16[3,64,32]{2,1,0} parameter(0)
  %i = s32[] parameter(1)
  %x = bf16[16,64]{1,0} parameter(2)
  %b = bf16[3,64,32]{2,1,0} bitcast(%p)
  ROOT %f = bf16[16,32] fusion(%b, %i, %x), kind=kLoop, calls=%inside
}

%inside (p""",
  ).replace("kind=kOutput, calls=%inside", "kind=kOutput, calls=%outer")
  nested = hlo.parse(text, open_rounds=5)
  assert nested.counts["inside"] == 3
  plain = hlo.parse(samples.LOOP, open_rounds=5)
  assert traffic.hbm_bytes(nested) == traffic.hbm_bytes(plain)


UPDATE = """
%inside (p: f32[8,64], x: f32[1,64], i: s32[]) -> f32[8,64] {
  %p = f32[8,64]{1,0} parameter(0)
  %x = f32[1,64]{1,0} parameter(1)
  %i = s32[] parameter(2)
  %u = f32[8,64]{1,0} dynamic-update-slice(%p, %x, %i, %i)
  ROOT %b = f32[8,64]{1,0} bitcast(%u)
}

ENTRY %main (p: f32[8,64], x: f32[1,64], i: s32[]) -> f32[8,64] {
  %p = f32[8,64]{1,0} parameter(0)
  %x = f32[1,64]{1,0} parameter(1)
  %i = s32[] parameter(2)
  ROOT %f = f32[8,64]{1,0} fusion(%p, %x, %i), kind=kLoop, calls=%inside
}
"""


def test_an_update_in_place_moves_what_it_writes():
  fused = traffic.hbm_bytes(hlo.parse(UPDATE))
  assert fused == 4 * 64 + 4 + 4 * 64
  plain = UPDATE.replace(
    "fusion(%p, %x, %i), kind=kLoop, calls=%inside",
    "dynamic-update-slice(%p, %x, %i, %i)",
  )
  assert traffic.hbm_bytes(hlo.parse(plain)) == 2 * 4 * 64


@pytest.mark.parametrize(
  ("line", "moved"),
  [
    # A copy to the chip's own memory reads, and one back writes.
    (
      "(f32[8,64]{1,0:S(1)}, f32[8,64]{1,0}, u32[]{:S(2)}) copy-start(%p)",
      4 * 8 * 64,
    ),
    ("((f32[8,64]{1,0}), f32[1,64]{1,0:S(1)}, u32[]) slice-start(%p)", 4 * 64),
    ("((f32[8,64]{1,0}), f32[1,64]{1,0}, u32[]) slice-start(%p)", 8 * 64),
    (
      'f32[8,64] custom-call(), custom_call_target="AllocateBuffer"',
      0,
    ),
    (
      'f32[8,64] custom-call(%p), custom_call_target="tpu_custom_call"',
      2 * 4 * 8 * 64,
    ),
  ],
)
def test_what_moves_behind_other_work(line, moved):
  text = UPDATE.replace("  ROOT %f = ", f"  %s = {line}\n  ROOT %f = ")
  before = traffic.hbm_bytes(hlo.parse(UPDATE))
  assert traffic.hbm_bytes(hlo.parse(text)) - before == moved


def test_largest():
  first, second, *_ = traffic.largest(hlo.parse(samples.LOOP))
  assert first == (2 * 3 * 64 * 32, "bf16[3,64,32]", "jit(step)/mlp/up")
  assert second.shape == "f32[64]"  # f32[32] and bf16[16,32] are not in HBM.


def test_whole_batches():
  program = hlo.parse(samples.LOOP)
  assert traffic.whole_batches(program, {(16, 64): 1}) == []  # too small
  found = traffic.whole_batches(program, {(16, 64): 1, (3, 64): 32}, least=1)
  # A part of a row's channels is no whole row: bf16[3,64,8] is none.
  assert [large.shape for large in found] == ["bf16[3,64,32]", "bf16[16,64]"]


@pytest.mark.parametrize(
  ("message", "sizes"),
  [
    (
      "RESOURCE_EXHAUSTED: E1000: CompileTimeHbmOom: Ran out of memory on HBM,"
      " the total memory required for HLO temporaries (800.00G) exceeds"
      " available HBM (15.75G). HLO module: jit_step.",
      (800 * GIB, int(15.75 * GIB)),
    ),
    (
      "XLA:TPU compile permanent error. Ran out of memory in memory space hbm."
      " Used 17.25G of 15.75G hbm. Exceeded hbm capacity by 1.50G.",
      (int(17.25 * GIB), int(15.75 * GIB)),
    ),
    ("INTERNAL: Mosaic failed to compile", None),
  ],
)
def test_out_of_memory(message, sizes):
  assert traffic.out_of_memory(message) == sizes
