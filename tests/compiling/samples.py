"""Programs as XLA writes them, cut down to what is read."""

# ruff: noqa: E501

# A loop of three rounds with a gathered kernel, a product in a fusion that cuts
# its layer out of a stack, and gradients that are added up.
LOOP = """
HloModule jit_step, is_scheduled=true, num_partitions=8

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %sum = f32[] add(%a, %b)
}

%inside (p: bf16[3,64,32], i: s32[], x: bf16[16,64]) -> bf16[16,32] {
  %p = bf16[3,64,32]{2,1,0:T(8,128)(2,1)} parameter(0)
  %i = s32[]{:T(128)} parameter(1)
  %x = bf16[16,64]{1,0} parameter(2)
  %cut = bf16[1,64,32]{2,1,0} dynamic-slice(%p, %i, %i, %i), dynamic_slice_sizes={1,64,32}
  %flat = bf16[64,32]{1,0} bitcast(%cut)
  ROOT %dot = bf16[16,32]{1,0} dot(%x, %flat), lhs_contracting_dims={1}
}

%cond (c: (s32[], bf16[16,64])) -> pred[] {
  %c = (s32[]{:T(128)}, bf16[16,64]{1,0}) parameter(0)
  %n = s32[]{:T(128)} constant(3)
  %j = s32[]{:T(128)} get-tuple-element(%c), index=0
  ROOT %lt = pred[]{:T(512)} compare(%j, %n), direction=LT
}

%open_cond (c: (s32[], s32[])) -> pred[] {
  %c = (s32[], s32[]) parameter(0)
  %n = s32[] get-tuple-element(%c), index=1
  %j = s32[] get-tuple-element(%c), index=0
  ROOT %lt = pred[] compare(%j, %n), direction=LT
}

%open_body (c: (s32[], s32[])) -> (s32[], s32[]) {
  %c = (s32[], s32[]) parameter(0)
  %j = s32[] get-tuple-element(%c), index=0
  %sum = s32[] all-reduce(%j), channel_id=9, replica_groups=[1,8]<=[8], to_apply=%add
  %n = s32[] get-tuple-element(%c), index=1
  ROOT %t = (s32[], s32[]) tuple(%sum, %n)
}

%body (c: (s32[], bf16[16,64])) -> (s32[], bf16[16,64]) {
  %c = (s32[], bf16[16,64]{1,0}) parameter(0)
  %j = s32[] get-tuple-element(%c), index=0
  %x = bf16[16,64]{1,0} get-tuple-element(%c), index=1
  %kernel = bf16[3,64,8]{2,1,0} constant({...})
  %whole = bf16[3,64,32]{2,1,0:T(8,128)(2,1)} all-gather(%kernel), channel_id=1, replica_groups=[2,4]<=[8], dimensions={2}, metadata={op_name="jit(step)/mlp/up"}
  %y = bf16[16,32]{1,0:T(8,128)(2,1)S(1)} fusion(%whole, %j, %x), kind=kOutput, calls=%inside, metadata={op_name="jit(step)/mlp/dot"}
  ROOT %t = (s32[], bf16[16,64]{1,0}) tuple(%j, %x)
}

ENTRY %main (x: bf16[16,64]) -> bf16[16,64] {
  %x = bf16[16,64]{1,0} parameter(0)
  %zero = s32[] constant(0)
  %start = (s32[], bf16[16,64]{1,0}) tuple(%zero, %x)
  %loop = (s32[], bf16[16,64]{1,0}) while(%start), condition=%cond, body=%body, metadata={op_name="jit(step)/while"}
  %bounds = (s32[], s32[]) tuple(%zero, %zero)
  %open = (s32[], s32[]) while(%bounds), condition=%open_cond, body=%open_body, metadata={op_name="jit(step)/loss"}
  %both = (f32[64]{0}, f32[32]{0:S(1)}) all-reduce(%x, %x), channel_id=2, replica_groups={{0,4},{1,5},{2,6},{3,7}}, to_apply=%add
  ROOT %out = bf16[16,64]{1,0} get-tuple-element(%loop), index=1
}
"""

# As a TPU's scheduler writes a gather that runs beside other work, a
# reduce-scatter, and what hosts bring from the other slice.
ASYNC = """
HloModule jit_step, num_partitions=4

%all-reduce-scatter.1 (p: f32[64,8]) -> f32[16,8] {
  %p = f32[64,8]{1,0} parameter(0)
  %r = f32[64,8]{1,0} all-reduce(%p), channel_id=5, replica_groups=mesh['axis_0'=2,'axis_1'=2] {'axis_0','axis_1'}, to_apply=%add
  ROOT %d = f32[16,8]{1,0} dynamic-slice(%r, %r), dynamic_slice_sizes={16,8}
}

%first (p: bf16[8,4]) -> bf16[8,8] {
  %p = bf16[8,4]{1,0} parameter(0)
  ROOT %g = bf16[8,8]{1,0} all-gather(%p), channel_id=7, replica_groups=[2,2]<=[4], dimensions={1}, frontend_attributes={chain_id="5"}
}

%second (p: bf16[8,4]) -> bf16[8,8] {
  %p = bf16[8,4]{1,0} parameter(0)
  ROOT %g = bf16[8,8]{1,0} all-gather(%p), channel_id=7, replica_groups=[2,2]<=[4], dimensions={1}, frontend_attributes={chain_id="5"}
}

ENTRY %main (x: bf16[8,4], g: f32[64,8]) -> f32[16,8] {
  %x = bf16[8,4]{1,0} parameter(0)
  %g = f32[64,8]{1,0} parameter(1)
  %a = bf16[8,8]{1,0} fusion(%x), kind=kCustom, calls=%first
  %b = bf16[8,8]{1,0} fusion(%x), kind=kCustom, calls=%second
  %w = (bf16[8,4]{1,0}, bf16[8,16]{1,0}) all-gather-start(%x), channel_id=8, replica_groups=[1,4]<=[4], dimensions={1}
  %e = bf16[8,16]{1,0} all-gather-done(%w)
  %c = (bf16[8,4]{1,0}, bf16[8,4]{1,0}, u32[]{:S(2)}, u32[]{:S(2)}) collective-permute-start(%x), channel_id=12, source_target_pairs={{0,2},{1,3},{2,2},{3,3}}
  %k = token[] after-all()
  %v = (f32[16,8]{1,0:T(8,128)}, u32[], token[]) recv(%k), channel_id=3, is_host_transfer=true, frontend_attributes={_xla_host_transfer_handler_name="xla_megascale_runtime",_xla_megascale_transfer_type="ALL_REDUCE"}
  %h = (f32[16,8]{1,0}, u32[], token[]) recv(%k), channel_id=4, is_host_transfer=true
  ROOT %f = f32[16,8]{1,0} fusion(%g), kind=kCustom, calls=%all-reduce-scatter.1
}
"""
