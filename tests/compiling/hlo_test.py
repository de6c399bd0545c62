"""Reading XLA's text."""

import pytest

from kosmos2_jax.compiling import hlo
from tests.compiling import samples


@pytest.fixture(scope="module")
def program():
  return hlo.parse(samples.LOOP, open_rounds=5)


def test_computations_run_as_often_as_their_loops(program):
  assert program.entry == "main"
  assert program.counts == {
    "main": 1,
    "cond": 3,
    "body": 3,
    "inside": 3,
    "open_cond": 5,
    "open_body": 5,
  }
  assert program.fused == {"inside"}
  assert program.open_loops == ("jit(step)/loss",)


@pytest.mark.parametrize(("step", "rounds"), [(1, 3), (2, 2), (3, 1)])
def test_a_loop_may_do_several_in_one_round(step, rounds):
  text = samples.LOOP.replace(
    "ROOT %t = (s32[], bf16[16,64]{1,0}) tuple(%j, %x)",
    f"""%step = s32[]{{:T(128)}} constant({step})
  %next = s32[] add(%j, %step)
  ROOT %t = (s32[], bf16[16,64]{{1,0}}) tuple(%next, %x)""",
  )
  assert hlo.parse(text).counts["body"] == rounds


def test_a_computation_of_another_thread_ends_too():
  """As those that a TPU's sparse cores run."""
  text = samples.LOOP.replace(
    "calls=%inside", 'calls=%inside, async_execution_thread="sparsecore"'
  ).replace("}\n\n%cond", '}, execution_thread="sparsecore"\n\n%cond')
  assert "}, exec" in text
  assert (
    hlo.parse(text, open_rounds=5).counts
    == hlo.parse(samples.LOOP, open_rounds=5).counts
  )


def test_known_trip_count():
  text = samples.LOOP.replace(
    "body=%open_body,",
    'body=%open_body, backend_config={"known_trip_count":{"n":"12"}},',
  )
  program = hlo.parse(text)
  assert program.counts["open_body"] == 12
  assert program.open_loops == ()


def test_an_instruction_in_its_parts(program):
  lines = {line.name: line for line in program.computations["main"]}
  line = lines["both"]
  assert line.shape == "(f32[64]{0}, f32[32]{0:S(1)})"
  assert (line.opcode, line.operands) == ("all-reduce", ("x", "x"))
  assert line.attributes.startswith(", channel_id=2")
  assert not line.is_root
  assert lines["out"].is_root
  assert lines["zero"].literal == "0"
  assert lines["loop"].op_name == "jit(step)/while"
  assert hlo.called(lines["loop"], "condition") == ["cond"]


@pytest.mark.parametrize(
  ("shape", "num_bytes"),
  [
    ("bf16[3,64,32]{2,1,0:T(8,128)(2,1)}", 2 * 3 * 64 * 32),
    ("(f32[64]{0}, u32[]{:S(2)})", 4 * 65),
    ("pred[7]", 7),
    ("s4[10]{0}", 5),
    ("f8e4m3fn[16]", 16),
    ("c64[2]{0}", 16),
    ("token[]", 0),
    ("(bf16[2,1]{1,0}, /*index=5*/f64[3])", 28),
  ],
)
def test_bytes(shape, num_bytes):
  assert hlo.num_bytes(shape) == num_bytes


def test_an_instruction_of_several_lines():
  """A kernel's notes are no end of its computation."""
  text = samples.LOOP.replace(
    "  %loop = ",
    """  %k = bf16[16,64]{1,0} custom-call(%x), attributes={notes={
"block": "{512}"
}}, metadata={op_name="jit(step)/kernel"}
  %loop = """,
  )
  program = hlo.parse(text, open_rounds=5)
  assert program.counts["body"] == 3
  lines = {line.name: line for line in program.computations["main"]}
  assert lines["k"].op_name == "jit(step)/kernel"
  assert list(lines)[-1] == "out"


def test_memory_of_the_chip_is_not_hbm():
  shapes = "(f32[4]{0:T(128)S(1)}, f32[4]{0:T(128)}, f32[4])"
  assert [a.in_hbm for a in hlo.arrays(shapes)] == [False, True, True]


def test_no_program():
  with pytest.raises(ValueError, match="ENTRY computation, found 'nothing'"):
    hlo.parse("nothing")
